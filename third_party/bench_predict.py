"""Times mvag-torch predict, from image files to predictions.jsonl, heat maps and overlays, for each head, with images
resized to the model and in tiles: images a second, and the share of that time that the model took.

    python3 third_party/bench_predict.py --backbone FILE --set device=cuda --set precision=bf16

Needs bin/mvag-torch and the weights of a ViT-S/14 or, with --set backbone.name=…, another. Renders parts and trains two
models for a few iterations below --out, or goes on with what is there. The start of the program is not counted: predictions of
one object are timed, too, and subtracted. The medians are of --rounds rounds in which all take turns.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

HEADS = ["reconstruction", "memory", "both"]


def model(a, name, settings):
    """Trains the model, or goes on where that was interrupted."""
    sets = [*settings, f"name={name}", f"data.crop={a.crop}", "train.iterations=20", "train.warmup=5"]
    subprocess.run([a.program, "train", "--resume", "-c", "quickstart", *(x for s in sets for x in ("--set", s))], check=True)
    return a.out / name / "checkpoint.safetensors"


def predict(a, checkpoint, head, paths):
    """Predicts, and returns the seconds of all and those of the model, and the number of images."""
    out = a.out / f"predicted-{checkpoint.parent.name}-{head}"
    began = time.monotonic()
    subprocess.run([a.program, "predict", "-m", checkpoint, "--set", f"inspect.head={head}", "-o", out, *paths], check=True)
    took = time.monotonic() - began
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    return took, sum(line["time_ms"] for line in lines) / 1000, len(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--set", action="append", default=[], help="a setting of both models")
    parser.add_argument("--side", type=int, default=1024, help="of the images in pixels")
    parser.add_argument("--crop", type=int, default=392, help="side length of what the model sees, a multiple of 14")
    parser.add_argument("--objects", type=int, default=60, help="to judge, of five images, beside the 12 of the training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, default="runs/bench-predict")
    parser.add_argument("--program", default="bin/mvag-torch")
    a = parser.parse_args()
    data = a.out / f"demo-{a.side}-{a.objects}"
    count = ["--train", "12", "--good", str(a.objects // 2), "--bad", str(a.objects - a.objects // 2)]
    subprocess.run([a.program, "dataset", "demo", "--classes", "gear", "--size", str(a.side), *count, data], check=True)
    common = [f"backbone.weights={a.backbone}", f"data.root={data}", f"output={a.out}", *a.set]
    models = {
        "squash": model(a, "squash", [*common, f"data.resize={a.crop * 8 // 7}"]),
        "tiles": model(a, "tiles", [*common, "data.fit=tiles", f"data.resize=[{a.side}, {a.side}]", "eval.objects=1"]),
    }
    parts = data / "realiad_demo" / "gear"
    rows = {(name, head): [] for name in models for head in HEADS}
    for turn in range(a.rounds):
        for name, head in rows:
            one, of_one, first = predict(a, models[name], head, [parts / "OK" / "S0001"])
            took, of_model, images = predict(a, models[name], head, [parts / "OK", parts / "NG"])
            rows[name, head].append(((images - first) / (took - one), (of_model - of_one) / (took - one)))
            print(f"round {turn + 1}: {name}, {head}: {images} images in {took:.1f} s, {one:.1f} s of them to start", file=sys.stderr)
    print("| fit | head | images/s | share of the model |\n|---|---|---|---|")
    for (name, head), values in rows.items():
        rate, share = (statistics.median(v) for v in zip(*values))
        print(f"| {name} | {head} | {rate:.1f} | {100 * share:.0f} % |")


if __name__ == "__main__":
    main()
