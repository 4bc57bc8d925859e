"""Checks model files with package onnx and runs them in other programs.

    check.py FOLDER

FOLDER has for each model NAME.onnx and NAME.json: {"inputs": {name: tensor}, "outputs": {name: tensor}, "except":
programs that are known to differ}, with tensor {"type": numpy's, "shape": [...], "data": base64}. Prints a line for
each fault, then a line for each program.
"""

import base64
import json
import pathlib
import sys

import numpy
import onnx
import onnx.reference
import onnxruntime
import openvino


def tensor(t):
    return numpy.frombuffer(base64.b64decode(t["data"]), t["type"]).reshape(t["shape"])


def run_reference(path, inputs, names):
    return onnx.reference.ReferenceEvaluator(str(path)).run(names, inputs)


def run_onnxruntime(path, inputs, names):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 2  # warnings
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(names, inputs)


def run_openvino(path, inputs, names):
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    result = model({n: v for n, v in inputs.items() if any(n in i.names for i in model.inputs)})
    return [result[n] for n in names]


def check(path):
    """Types and shapes are inferred and compared with those in the file."""
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    said = {v.name: v.type for v in [*model.graph.value_info, *model.graph.output]}
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    for v in [*inferred.value_info, *inferred.output]:
        have, want = said[v.name].tensor_type, v.type.tensor_type
        if have.elem_type != want.elem_type or len(have.shape.dim) != len(want.shape.dim):
            raise ValueError(f"{v.name}: have {have}, want {want}")
        for a, b in zip(have.shape.dim, want.shape.dim, strict=True):
            if b.HasField("dim_value") and a != b:
                raise ValueError(f"{v.name}: have {have}, want {want}")


def compare(run, path, case):
    names = list(case["outputs"])
    results = run(path, {n: tensor(t) for n, t in case["inputs"].items()}, names)
    for name, have in zip(names, results, strict=True):
        want = tensor(case["outputs"][name])
        if have.dtype != want.dtype or have.shape != want.shape:
            raise ValueError(f"{name}: have {have.dtype} {have.shape}, want {want.dtype} {want.shape}")
        numpy.testing.assert_allclose(have, want, rtol=2e-5, atol=2e-5)


def main():
    paths = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
    numpy.seterr(all="ignore")  # infinities are wanted
    runs = {"onnx": run_reference, "onnxruntime": run_onnxruntime, "openvino": run_openvino}
    faults = 0
    for path in paths:
        case = json.loads(path.with_suffix(".json").read_text())
        steps = [("check", lambda path=path: check(path))]
        steps += [(n, lambda r=r, path=path, case=case: compare(r, path, case)) for n, r in runs.items() if n not in case["except"]]
        for name, step in steps:
            try:
                step()
            except Exception as e:  # whatever the programs raise is the finding
                faults += 1
                print(f"{path.stem}: {name}: {' '.join(str(e).split())[:600]}")
    for program in (onnx, onnxruntime, openvino):
        print(f"{len(paths)} models: {program.__name__} {program.__version__}")
    return faults > 0


sys.exit(main())
