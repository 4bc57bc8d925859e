#!/usr/bin/env python3
"""Times one image from file to pixels, in Pillow + torchvision and in this program.

    python3 third_party/bench_loader.py [IMAGE.jpg]

Without a IMAGE it takes the 1024 x 1024 centre of golden/preprocess/large.jpg in
the folder of traces, encoded by Go at quality 92.

The work is decoding, resizing to 448 x 448 (bilinear, antialiased) and a centre
crop of 392, to a planar uint8 tensor: Image.open, Resize, CenterCrop, PILToTensor.
Times are CPU time, including garbage collection and system calls, so that other
programs have little effect. Rounds alternate, and the table has medians. Without
torch and torchvision only this program's rows are printed; without libjpeg
(pkg-config) its rows are left out.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS, SECONDS = 5, 0.5
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def torchvision(image):
    """Returns a function that times an image, or None."""
    try:
        import torch
        from PIL import Image
        from torchvision import transforms as T
    except ImportError as e:
        print(f"no Pillow + torchvision: {e}", file=sys.stderr)
        return None
    torch.set_num_threads(1)
    fit = T.Compose([T.Resize((448, 448)), T.CenterCrop(392), T.PILToTensor()])

    def once():
        count, began = 0, time.process_time()
        while time.process_time() - began < SECONDS:
            fit(Image.open(image).convert("RGB"))
            count += 1
        return {"Pillow + torchvision": (time.process_time() - began) / count}

    return once


def ours(image, binary, names):
    """Returns a function that times the benchmarks of a test binary."""

    def once():
        out = subprocess.run(
            [binary, "-test.run", "^$", "-test.bench", "BenchmarkOneCore", "-test.benchtime", f"{SECONDS}s", "-test.cpu", "1"],
            cwd=os.path.join(HERE, "dataset"), env={**os.environ, "MVAG_BENCH_PICTURE": image},
            check=True, capture_output=True, text=True).stdout
        return {names[name]: float(ns) / 1e9
                for name, ns in re.findall(r"^BenchmarkOneCore/(\w+)\s.*?([\d.]+) cpu-ns/op", out, re.M) if name in names}

    return once


def build(folder, name, cgo, *flags):
    binary = os.path.join(folder, name)
    subprocess.run(["go", "test", "-c", *flags, "-o", binary, "./dataset"], cwd=HERE, env={**os.environ, "CGO_ENABLED": cgo}, check=True)
    return binary


def main():
    with tempfile.TemporaryDirectory() as folder:
        go = build(folder, "go.test", "0")
        image = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(folder, "photo.jpg")
        if len(sys.argv) == 1:
            subprocess.run([go, "-test.run", "^TestWritePhoto$"], cwd=os.path.join(HERE, "dataset"),
                           env={**os.environ, "MVAG_BENCH_WRITE": image}, check=True, stdout=subprocess.DEVNULL)
        if not os.path.exists(image):
            sys.exit(f"{image}: no such image; give one, or the folder of traces (MVAG_SHARED)")
        runs = [torchvision(image), ours(image, go, {"exact": "exact, pure Go", "cache": "prepared cache"})]
        if subprocess.run(["pkg-config", "--exists", "libjpeg"], check=False).returncode == 0:
            runs.append(ours(image, build(folder, "libjpeg.test", "1", "-tags", "libjpeg"),
                             {"exact": "exact, libjpeg-turbo", "scaled": "scaled, libjpeg-turbo"}))
        times = {}
        for _ in range(ROUNDS):
            for run in filter(None, runs):
                for name, seconds in run().items():
                    times.setdefault(name, []).append(seconds)
    medians = {name: statistics.median(t) for name, t in times.items()}
    base = medians.get("Pillow + torchvision")
    jpeg = min(t for name, t in medians.items() if name.startswith("exact"))
    print(f"{'one core, ' + os.path.basename(image):32}{'ms':>8}{'images/s':>12}{'to Pillow':>11}{'to exact':>10}")
    for name, t in medians.items():
        print(f"{name:32}{1e3 * t:8.3f}{1 / t:12.1f}{base / t if base else float('nan'):11.2f}{jpeg / t:10.2f}")


main()
