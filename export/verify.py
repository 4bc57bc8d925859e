"""Runs an exported ONNX file in another program, for mvag-torch export --verify.

    verify.py list               the packages that can be imported, as JSON
    verify.py check FILE         the checker of package onnx, with types and shapes inferred
    verify.py run FILE RUNTIME   answers records on standard input: RUNTIME is onnxruntime or openvino

run reads one line of JSON, which names the arrays of a record in order, then records until the input ends:

    {"inputs": [["images", "uint8", [5, 3, 224, 224]], …], "settings": [["image_threshold", [2]], …],
     "outputs": ["map", …]}
    record   uint32 objects, uint8 changed, inputs [objects, …], settings in float32 where changed is 1
    answer   outputs, one after the other

Numbers are little-endian. A line "ready" comes before the first answer. OMP_NUM_THREADS limits the threads.
"""

import json
import os
import struct
import sys

PACKAGES = ("onnx", "onnxruntime", "openvino")


def threads():
    return int(os.environ.get("OMP_NUM_THREADS", "0").split(",")[0])


class OnnxRuntime:
    """The CPU provider; settings are inputs of the graph."""

    def __init__(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, inputs, settings, outputs):
        return self.session.run(outputs, inputs | settings)


class OpenVINO:
    """The CPU plugin in float32; settings are constants of the graph, which is compiled again for other values."""

    def __init__(self, path):
        import openvino

        self.openvino, self.path, self.core = openvino, path, openvino.Core()
        self.unchanged, self.changed, self.compiled = self.compile({}), None, None

    def compile(self, settings):
        model = self.core.read_model(self.path)
        constants = [n for n in model.get_ordered_ops() if n.get_type_name() == "Constant"]
        found = [n for n in constants if n.get_friendly_name() in settings]
        missing = set(settings) - {n.get_friendly_name() for n in found}
        if missing:
            raise ValueError(f"constants: have no {sorted(missing)}, want one for each setting")
        for node in found:
            name = node.get_friendly_name()
            constant = self.openvino.op.Constant(settings[name])
            constant.set_friendly_name(name)
            node.output(0).replace(constant.output(0))
        options = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads():
            options["INFERENCE_NUM_THREADS"] = threads()
        return self.core.compile_model(model, "CPU", options)

    def run(self, inputs, settings, outputs):
        compiled = self.unchanged
        if settings:
            key = b"".join(values.tobytes() for values in settings.values())
            if key != self.changed:
                self.changed, self.compiled = key, self.compile(settings)
            compiled = self.compiled
        results = compiled(inputs)
        return [results[name] for name in outputs]


def read(stream, array):
    """Reads the elements of an array. False where the input has ended before the first."""
    view = memoryview(array.reshape(-1)).cast("B") if array.size else b""
    at = 0
    while at < len(view):
        n = stream.readinto(view[at:])
        if not n:
            if at == 0:
                return False
            raise EOFError(f"input: have {at} bytes, want {len(view)}")
        at += n
    return True


def run(path, runtime, source, answers):
    import numpy

    names = json.loads(source.readline())
    program = {"onnxruntime": OnnxRuntime, "openvino": OpenVINO}[runtime](path)
    answers.write(b"ready\n")
    answers.flush()
    head = numpy.empty(5, numpy.uint8)
    while read(source, head):
        objects, changed = struct.unpack("<IB", head.tobytes())
        inputs = {name: numpy.empty([objects] + shape, kind) for name, kind, shape in names["inputs"]}
        settings = {name: numpy.empty(shape, numpy.float32) for name, shape in names["settings"]} if changed else {}
        for array in [*inputs.values(), *settings.values()]:
            if not read(source, array) and array.size:
                raise EOFError("input: have half a record, want all of it")
        for array in program.run(inputs, settings, names["outputs"]):
            answers.write(numpy.ascontiguousarray(array).tobytes())
        answers.flush()


def check(path):
    import onnx

    onnx.checker.check_model(path, full_check=True)
    if os.path.getsize(path) < 1 << 31:
        model = onnx.load(path, load_external_data=False)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def packages():
    """The versions of the packages, and why others cannot be imported."""
    versions, failed = {}, {}
    for name in PACKAGES:
        try:
            versions[name] = __import__(name).__version__.split("-")[0]
        except ModuleNotFoundError as e:
            if e.name != name:
                failed[name] = str(e)
        except Exception as e:  # a library that does not load
            failed[name] = " ".join(str(e).split())
    return {"python": sys.version.split()[0], "versions": versions, "failed": failed}


def main(args):
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is not an answer
    if args == ["list"]:
        answers.write(json.dumps(packages()).encode())
    elif len(args) == 2 and args[0] == "check":
        check(args[1])
    elif len(args) == 3 and args[0] == "run":
        run(args[1], args[2], sys.stdin.buffer, answers)
    else:
        sys.exit(__doc__)
    answers.close()


if __name__ == "__main__":
    sys.path[:] = [p for p in sys.path if p]  # not the working folder, where python -c looks first
    sys.modules["openvino_telemetry"] = None  # OpenVINO reports each import to its vendor where it finds this package
    try:
        main(sys.argv[1:])
    except Exception as e:
        sys.exit(f"{type(e).__name__}: " + " ".join(str(e).split()))
