"""Runs a model that "mvag-torch export --format onnx" wrote, and makes the anomaly maps of a test set with it.

    mvag-torch eval -m CHECKPOINT --save-maps FOLDER        maps and masks by this program
    python3 third_party/exported.py MODEL FOLDER OUT        maps of the same images by ONNX Runtime or OpenVINO
    mvag-torch metrics OUT                                  their metrics

MODEL is an .onnx file, for ONNX Runtime, or an .xml file of quantize_openvino.py, for OpenVINO. Paths in FOLDER are
looked up in the folder where this is started. Needs numpy, Pillow and onnxruntime or openvino.
"""

import argparse
import json
import os
import shutil

import numpy as np
from PIL import Image, ImageOps


class OnnxRuntime:
    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.text = self.session.get_modelmeta().custom_metadata_map["mvag-torch"]
        self.outputs = [o.name for o in self.session.get_outputs()]

    def run(self, inputs):
        return dict(zip(self.outputs, self.session.run(None, inputs)))


class OpenVINO:
    """model is a path or an openvino.Model. Float32, unless the model is quantised."""

    def __init__(self, model, threads):
        import openvino

        core = openvino.Core()
        model = core.read_model(model) if isinstance(model, str) else model
        self.text = description(model)
        self.outputs = [o.get_any_name() for o in model.outputs]
        config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        self.compiled = core.compile_model(model, "CPU", config)

    def run(self, inputs):
        answer = self.compiled(inputs)
        return {name: answer[name] for name in self.outputs}


def description(model):
    """The JSON text in an openvino.Model."""
    return model.get_rt_info(["framework", "mvag-torch"]).astype(str)


class Exported:
    """A model with its preprocessing. runtime is an OnnxRuntime or an OpenVINO."""

    def __init__(self, runtime):
        self.runtime, self.about = runtime, json.loads(runtime.text)
        self.classes = [c["name"] for c in self.about["classes"]]

    def pixels(self, path):
        """The image as the graph takes it: uint8 [3, height, width]."""
        rule = self.about["input"]
        image = Image.open(path)
        if rule["exif"]:
            image = ImageOps.exif_transpose(image)
        if "image" in rule and list(image.size) != rule["image"]:
            raise SystemExit(f"{path}: have {image.size} pixels, want {rule['image']}, as the model was exported")
        left, top, width, height = rule["place"]
        canvas = Image.new("RGB", (rule["width"], rule["height"]), tuple(rule["background"]))
        image = image.convert("RGB").resize((width, image.height), Image.BILINEAR)  # one call may go down first
        canvas.paste(image.resize((width, height), Image.BILINEAR), (left, top))
        return np.asarray(canvas).transpose(2, 0, 1)

    def inputs(self, name, paths):
        """Of one object: the name of its class, or None, and its paths by camera, from 1."""
        rule = self.about["input"]
        images = np.zeros((1, rule["views"], 3, rule["height"], rule["width"]), np.uint8)
        present = np.zeros((1, rule["views"]), bool)
        for camera, path in paths.items():
            images[0, camera - 1], present[0, camera - 1] = self.pixels(path), True
        inputs = {"images": images, "present": present}
        if len(self.classes) > 1:
            inputs["class"] = np.array([self.classes.index(name) if name in self.classes else -1])
        return inputs

    def judge(self, name, paths):
        """The outputs for one object, without the axis of objects."""
        return {key: value[0] for key, value in self.runtime.run(self.inputs(name, paths)).items()}


def open_model(path, threads=0):
    """Opens an .onnx file in ONNX Runtime, anything else in OpenVINO."""
    return Exported((OnnxRuntime if path.endswith(".onnx") else OpenVINO)(path, threads))


def objects(lines, name=None):
    """The objects of lines of predict, or of a table of maps: lists of (class, {camera: path})."""
    found = {}
    for i, line in enumerate(map(json.loads, lines)):
        key = line.get("object") or i
        found.setdefault(key, (line.get("class") or name, {}))[1][line.get("camera") or 1] = line["path"]
    return list(found.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("model", "folder", "out"):
        parser.add_argument(name)
    parser.add_argument("--threads", type=int, default=0)
    a = parser.parse_args()
    model = open_model(a.model, a.threads)
    os.makedirs(a.out, exist_ok=True)
    for table in sorted(f for f in os.listdir(a.folder) if f.endswith(".jsonl")):
        name = table.removesuffix(".jsonl")
        with open(os.path.join(a.folder, table)) as f:
            lines = [json.loads(line) for line in f]
        for line in lines:
            line.pop("heads", None)  # of the program that wrote it
        maps = {}
        for kind, paths in objects(map(json.dumps, lines), name):
            out = model.judge(kind, paths)
            for camera, path in paths.items():
                maps[path] = out["map"][camera - 1], float(out["score"][camera - 1])
        np.save(os.path.join(a.out, name + ".maps.npy"), np.stack([maps[line["path"]][0] for line in lines]))
        shutil.copyfile(os.path.join(a.folder, name + ".masks.npy"), os.path.join(a.out, name + ".masks.npy"))
        with open(os.path.join(a.out, table), "w") as f:
            for line in lines:
                f.write(json.dumps(line | {"score": maps[line["path"]][1]}) + "\n")
        moved = [abs(maps[line["path"]][1] / line["score"] - 1) for line in lines]
        print(f"{name}: {len(lines)} images; scores differ from those of the folder by {max(moved):.2g} at most, {np.median(moved):.2g} in the median")


if __name__ == "__main__":
    main()
