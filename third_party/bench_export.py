"""Times an object of five images by mvag-torch, by the exported model in ONNX Runtime and OpenVINO (float32 and INT8), and
by the same model in eager PyTorch, in turn, and prints medians, ratios, peak memory and the sizes of files.

    python3 third_party/bench_export.py --size s224 --threads 2 --rounds 3

Needs bin/mvag-torch and a Python with the packages of onnx_requirements.txt, export_requirements.txt and nncf. The model has random
weights, one training step, and is judged by reconstruction, without thresholds. It is made in --folder on the first run,
which takes minutes. Each round runs every program once, and the order rotates, so that other load of the machine affects all.
"""

import argparse
import json
import os
import resource
import statistics
import struct
import subprocess
import sys
import time

import numpy as np

SIZES = {  # backbone, channels, registers, image size in pixels
    "s224": ("vit_small_patch14_dinov2", 384, 0, 224),
    "b392": ("vit_base_patch14_reg4_dinov2", 768, 4, 392),
}
PROGRAM = "bin/mvag-torch"


def random_backbone(path, c, registers, grid):
    """Writes a safetensors file with a random ViT of 12 blocks, under timm's names."""
    shapes = {"cls_token": [1, 1, c], "pos_embed": [1, grid * grid + (registers == 0), c], "norm.weight": [c], "norm.bias": [c],
              "patch_embed.proj.weight": [c, 3, 14, 14], "patch_embed.proj.bias": [c]}
    if registers:
        shapes["reg_token"] = [1, registers, c]
    for i in range(12):
        for name, n, m in (("attn.qkv", 3 * c, c), ("attn.proj", c, c), ("mlp.fc1", 4 * c, c), ("mlp.fc2", c, 4 * c)):
            shapes[f"blocks.{i}.{name}.weight"], shapes[f"blocks.{i}.{name}.bias"] = [n, m], [n]
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{i}.{name}"] = [c]
    random, data, header = np.random.default_rng(1), [], {}
    for name, shape in shapes.items():
        one = name.endswith(".gamma") or "norm" in name and name.endswith(".weight")
        value = (one + 0.02 * random.standard_normal(shape)).astype("<f4").tobytes()
        at = sum(map(len, data))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(value)]}
        data.append(value)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def paths_of(folder, size):
    return {n: os.path.join(folder, f"{size}-{n}") for n in ("float32.onnx", "half.onnx", "int8.xml", "backbone.safetensors")}


def make(folder, size, files=("float32.onnx", "half.onnx", "int8.xml")):
    """Makes what is missing of the models of a size: the checkpoint, and these files of it."""
    backbone, channels, registers, side = SIZES[size]
    paths = paths_of(folder, size)
    demo, run = os.path.join(folder, "demo"), os.path.join(folder, size, "checkpoint.safetensors")
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(demo):
        say(PROGRAM, "dataset", "demo", demo, "--train", "2", "--good", "1", "--bad", "1")
    if not os.path.exists(paths["backbone.safetensors"]):
        random_backbone(paths["backbone.safetensors"], channels, registers, side // 14)
    if not os.path.exists(run):
        values = {"name": size, "output": folder, "data.root": demo, "backbone.name": backbone, "backbone.weights": paths["backbone.safetensors"],
                  "data.resize": side, "data.crop": side, "train.iterations": 1, "train.warmup": 0, "train.objects": 1, "train.holdout": 0,
                  "train.cache_features": "off", "memory.codes": 0, "device": "cpu"}
        say(PROGRAM, "train", "-c", "quickstart", *(word for k, v in values.items() for word in ("--set", f"{k}={v}")))
    for name, flags in (("float32.onnx", []), ("half.onnx", ["--half"])):
        if name in files and not os.path.exists(paths[name]):
            say(PROGRAM, "export", "-m", run, "--format", "onnx", "--head", "reconstruction", "-o", paths[name], *flags)
    if "int8.xml" in files and not os.path.exists(paths["int8.xml"]):
        quantise(paths["float32.onnx"], paths["int8.xml"])


def say(*command):
    subprocess.run(command, check=True, stdout=sys.stderr)


def quantise(source, path):
    import exported
    import openvino
    import quantize_openvino

    model = exported.open_model(source)
    openvino.save_model(quantize_openvino.quantise(source, [random_input(model.about) for _ in range(4)], True), path, compress_to_fp16=False)


def random_input(about):
    rule, random = about["input"], np.random.default_rng(1)
    x = {"images": random.integers(0, 256, (1, rule["views"], 3, rule["height"], rule["width"]), np.uint8), "present": np.ones((1, rule["views"]), bool)}
    return x | ({"class": np.zeros(1, np.int64)} if len(about["classes"]) > 1 else {})


def run(path, openvino, threads, steps):
    """Times an exported model in this process and prints what "mvag-torch bench" prints, in short."""
    import exported

    model = exported.Exported((exported.OpenVINO if openvino else exported.OnnxRuntime)(path, threads))
    x, seconds = random_input(model.about), []
    for _ in range(steps + 2):
        start = time.perf_counter()
        model.runtime.run(x)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[2:], "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="s224")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="data/bench-export")
    parser.add_argument("--make", action="store_true", help="only make the models")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--openvino", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.run:
        return run(a.run, a.openvino, a.threads, a.steps)
    if a.make:
        return make(a.folder, a.size)
    # In a process of its own: a child's peak of memory begins with the size of its parent.
    say(sys.executable, __file__, "--make", "--size", a.size, "--folder", a.folder)
    paths = paths_of(a.folder, a.size)
    timed, common = ["--threads", str(a.threads), "--steps", str(a.steps)], ["--size", a.size, "--what", "infer"]
    this = [sys.executable, __file__, "--run"]
    rows = {
        "mvag-torch": [PROGRAM, "bench", *common, "--set", "train.objects=1"],
        "ONNX Runtime": [*this, paths["float32.onnx"]],
        "OpenVINO, float32": [*this, paths["float32.onnx"], "--openvino"],
        "OpenVINO, INT8": [*this, paths["int8.xml"], "--openvino"],
        "PyTorch, eager": [sys.executable, "third_party/bench_torch.py", *common, "--objects", "1"],
    }
    seconds, rounds, last, order = {name: [] for name in rows}, {name: [] for name in rows}, {}, list(rows)
    for turn in range(a.rounds):
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            last[name] = json.loads(subprocess.run(rows[name] + timed, stdout=subprocess.PIPE, check=True, text=True).stdout)
            seconds[name] += last[name]["seconds"]
            rounds[name].append(statistics.median(last[name]["seconds"]))
            print(f"round {turn + 1}: {name}: {rounds[name][-1]:.4f} s", file=sys.stderr)
    median = {name: statistics.median(s) for name, s in seconds.items()}
    print(f"{a.size}, an object of 5 images, {a.threads or os.cpu_count()} threads, {a.rounds} rounds of {a.steps} steps\n")
    print("| program | s an object | in the fastest round | images/s | peak GB | speed, mvag-torch = 1 |\n|---|---|---|---|---|---|")
    for name, value in median.items():
        print(f"| {name} | {value:.3f} | {min(rounds[name]):.3f} | {5 / value:.2f} | {last[name]['peak_bytes'] / 1e9:.2f} | {median['mvag-torch'] / value:.2f} |")
    print("\n" + ", ".join(f"{name} {files(paths[name]) / 1e6:.1f} MB" for name in ("float32.onnx", "half.onnx", "int8.xml")))


def files(path):
    """Bytes of a model with what is beside it."""
    beside = [path, path + ".data", path.removesuffix(".xml") + ".bin"]
    return sum(os.path.getsize(p) for p in set(beside) if os.path.exists(p))


if __name__ == "__main__":
    main()
