"""Makes an INT8 model for OpenVINO of an exported one, with NNCF, and new thresholds for it.

    mvag-torch predict -m CHECKPOINT TRAINING_IMAGES… > seen.jsonl
    mvag-torch predict -m CHECKPOINT GOOD_IMAGES… > good.jsonl
    python3 third_party/quantize_openvino.py model.onnx seen.jsonl good.jsonl -o model-int8.xml

The lines of predict say which images are of one object; their verdicts are not used. seen.jsonl, from any good parts, gives the
ranges of activations (--images of them). good.jsonl, from good parts that the model was not trained on, gives the thresholds,
as "mvag-torch calibrate" derives them (docs/calibration.md). Encoder, bottleneck and decoder are quantised; distances, maps,
scores and decisions, which follow the stages target.0 and target.1, stay in float32. Needs nncf, openvino, onnxruntime,
numpy and Pillow.
"""

import argparse
import json
import logging

import conformal
import exported
import nncf
import numpy as np
import openvino

nncf.set_log_level(logging.ERROR)


def calibrate(model, objects, rate):
    """Rows of conformal.fit for images and for objects, from the scores that a model gives good objects."""
    images, wholes, classes = [], [], []
    for name, paths in objects:
        score = model.judge(name, paths)["score"]
        score = np.log(np.maximum(score[[c - 1 for c in paths]].astype(float), 1e-6))
        images.append(score)
        wholes.append(np.array([score.max()]))
        classes.append(name)
    if not np.isfinite(np.concatenate(images)).all():
        raise SystemExit("good objects: have one without a score, want classes and cameras that the model judges")
    image, whole = conformal.fit(images, classes, model.classes, rate), conformal.fit(wholes, classes, model.classes, rate)
    for one, all_of in zip(image, whole):  # a defective object has a defective image
        if one[0] > all_of[0]:
            one[0], one[2] = all_of[0], all_of[2]
    return {"image": image, "object": whole}


def without_gather(model):
    """Takes the rows of classes out of small tables of the memory by a matmul: OpenVINO 2026.4 cannot compile a quantised model
    that gathers them ("constant_fold" failed)."""
    ops = openvino.opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Gather" or node.input_value(0).get_node().get_type_name() != "Constant":
            continue
        table = node.input_value(0).get_node()
        name = table.get_friendly_name()
        if not name.startswith("memory.") or not name.endswith((".mean", ".half_squares")):
            continue
        values, constant = table.get_data().astype(np.float32), lambda v, t: openvino.op.Constant(np.array(v, t))
        rows = len(values)
        chosen = ops.one_hot(node.input_value(1), constant(rows, np.int64), constant(1, np.float32), constant(0, np.float32), -1)
        row = ops.matmul(chosen, constant(values.reshape(rows, -1), np.float32), False, False)
        row = ops.reshape(row, constant([-1, *values.shape[1:]], np.int64), False)
        if node.get_output_element_type(0) == openvino.Type.f16:
            row = ops.convert(row, "f16")
        for op, part in ((row, "row"), (row.input_value(0).get_node(), "rows")):
            op.set_friendly_name(f"{name}.{part}")
        node.output(0).replace(row.output(0))


def quantise(path, samples, fast):
    """An openvino.Model in INT8 of an exported one; samples are inputs."""
    source = openvino.Core().read_model(path)
    without_gather(source)
    names = {op.get_friendly_name() for op in source.get_ops()}
    targets = [n for n in (f"target.{i}" for i in range(64)) if n in names]
    ignored = nncf.IgnoredScope(subgraphs=[nncf.Subgraph(inputs=targets, outputs=["map.all"])], types=["Gather"],
                                patterns=[r"memory\..*"], validate=False)
    return nncf.quantize(source, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, ignored_scope=ignored,
                         subset_size=len(samples), fast_bias_correction=fast)


def put(model, rows, about):
    """Puts thresholds and scales in place of the constants, and in the description."""
    count = len(about["classes"]) + ("unknown" in about)  # rows of the tables
    values = {}
    for level, list_of in rows.items():
        values[level + "_threshold"] = np.array([r[0] * (1 + about["margin"]) for r in list_of[:count]], np.float32)
        values[level + "_scale"] = np.array([r[4:] for r in list_of[:count]], np.float32)
        for c, r in zip(about["classes"] + [about.get("unknown", {})], list_of):
            if level in c:
                c[level] = {"threshold": r[0], "basis": r[1], "rate": r[2], "objects": r[3]}
    for op in model.get_ordered_ops():
        if op.get_type_name() == "Constant" and op.get_friendly_name() in values:
            new = openvino.op.Constant(values.pop(op.get_friendly_name()))
            new.set_friendly_name(op.get_friendly_name())
            op.output(0).replace(new.output(0))
    if values:
        raise SystemExit(f"constants: have none named {sorted(values)}, want them in a model with thresholds")
    for c in about["classes"] + [about.get("unknown", {})]:
        c.pop("pixel", None)  # not calibrated again
    about["weights"] = "int8"
    model.set_rt_info(json.dumps(about), ["framework", "mvag-torch"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("seen")
    parser.add_argument("good")
    parser.add_argument("-o", "--output", required=True, help="the .xml file to write, and a .bin beside it")
    parser.add_argument("--false-alarm", type=float, default=0.01, help="rate of false alarms among good objects")
    parser.add_argument("--images", type=int, default=150, help="how many images give the ranges")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--accurate", action="store_true", help="correct biases layer by layer, which takes longer")
    a = parser.parse_args()
    model = exported.open_model(a.model, a.threads)
    with open(a.seen) as seen, open(a.good) as good:
        seen, good = exported.objects(seen), exported.objects(good)
    if len(good) < 2:
        raise SystemExit(f"{a.good}: have {len(good)} objects, want 2 or more")
    step = max(1, len(seen) * model.about["input"]["views"] // a.images)
    int8 = quantise(a.model, [model.inputs(*o) for o in seen[::step]], not a.accurate)
    rows = calibrate(exported.Exported(exported.OpenVINO(int8, a.threads)), good, a.false_alarm)
    float32 = calibrate(model, good, a.false_alarm)
    put(int8, rows, model.about)
    openvino.save_model(int8, a.output, compress_to_fp16=False)
    print(f"{a.output}: thresholds of objects from {len(good)} good ones")
    for name, new, old in zip(model.classes + ["(any)"], rows["object"], float32["object"]):
        print(f"  {name}: {new[0]:.4f} (float32, from the same objects: {old[0]:.4f}), {new[1]}, false alarms at most {new[2]:.4f}")


if __name__ == "__main__":
    main()
