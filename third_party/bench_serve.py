"""Measures mvag-torch serve beside FastAPI and uvicorn with the same network in ONNX Runtime and in eager PyTorch: requests a
second with several clients that wait for their answers (saturation), the times of answers there and at a fixed rate of
half of what the slowest can do, and the memory of the process.

    python3 third_party/bench_serve.py --rounds 3 --seconds 60

Needs bin/mvag-torch, vegeta (--vegeta), and a Python with the packages of onnx_requirements.txt, export_requirements.txt, fastapi,
uvicorn and python-multipart. The model is that of bench_export.py, calibrated with images of the demo set. An object is five
JPEG files of --side pixels. The servers run one after the other, and the order rotates from round to round; the clients
share the cores with them.
"""

import argparse
import base64
import glob
import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

from PIL import Image

import bench_export

PORT = 18080
URL = f"http://127.0.0.1:{PORT}"


def make(folder, size, side):
    """Makes a calibrated checkpoint, its ONNX file and the targets of vegeta; returns checkpoint, file and targets."""
    paths, demo = bench_export.paths_of(folder, size), os.path.join(folder, "demo")
    trained, run = os.path.join(folder, size, "checkpoint.safetensors"), os.path.join(folder, f"{size}-serve.safetensors")
    targets = os.path.join(folder, f"targets-{side}.jsonl")
    bench_export.make(folder, size, ["float32.onnx"])
    if not os.path.exists(run):
        shutil.copyfile(trained, run + ".part")
        bench_export.say(bench_export.PROGRAM, "calibrate", "-m", run + ".part", *glob.glob(f"{demo}/realiad_demo/*/OK"))
        os.replace(run + ".part", run)
    with open(targets, "w") as f:
        for n, target in enumerate(objects(demo, side)):
            f.write(json.dumps(target) + "\n")
    return run, paths["float32.onnx"], targets, n + 1


def objects(demo, side):
    """Requests with the objects of a data set, their images enlarged to side x side pixels."""
    for folder in sorted(glob.glob(f"{demo}/realiad_demo/*/*/**/S*", recursive=True)):
        files = sorted(glob.glob(f"{folder}/*_C[1-5]_*.jpg"))
        if len(files) != 5:
            continue
        body = b""
        for camera, path in enumerate(files, 1):
            jpeg = io.BytesIO()
            Image.open(path).convert("RGB").resize((side, side), Image.BICUBIC).save(jpeg, "JPEG", quality=90)
            body += (f'--frontier\r\nContent-Disposition: form-data; name="{camera}"; filename="{camera}.jpg"\r\n'
                     "Content-Type: image/jpeg\r\n\r\n").encode() + jpeg.getvalue() + b"\r\n"
        yield {"method": "POST", "url": URL + "/v1/inspect", "body": base64.b64encode(body + b"--frontier--\r\n").decode(),
               "header": {"Content-Type": ["multipart/form-data; boundary=frontier"]}}


class Server:
    def __init__(self, command, environment, log):
        self.process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        while True:
            try:
                urllib.request.urlopen(URL + "/v2/health/ready", timeout=60).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{command[0]} ended; see {log.name}")
                time.sleep(0.2)

    def memory(self):
        """Resident memory in bytes, now."""
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * 4096

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)


def attack(vegeta, targets, seconds, *flags):
    """Sends the targets in turn and returns the report of vegeta."""
    raw = subprocess.run([vegeta, "attack", "-format=json", f"-targets={targets}", f"-duration={seconds}s", "-timeout=120s", *flags],
                         stdout=subprocess.PIPE, check=True)
    report = subprocess.run([vegeta, "report", "-type=json"], input=raw.stdout, stdout=subprocess.PIPE, check=True)
    out = json.loads(report.stdout)
    if set(out["status_codes"]) != {"200"}:
        print(f"answers: {out['status_codes']} {out['errors'][:2]}", file=sys.stderr)
    return out


def measure(server, a, targets, half):
    """Saturation, or half load at a given rate."""
    flags = ["-rate=0", f"-workers={a.clients}", f"-max-workers={a.clients}"] if half is None else [f"-rate={max(1, round(60 * half))}/60s"]
    out = attack(a.vegeta, targets, a.seconds, *flags)
    lost = out["requests"] - out["status_codes"].get("200", 0)
    return {"rate": out["throughput"], "lost": lost, "memory": server.memory(), **{p: out["latencies"][p] / 1e6 for p in ("50th", "95th", "99th")}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=bench_export.SIZES, default="s224")
    parser.add_argument("--side", type=int, default=1024, help="of an image, in pixels")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", default="data/bench-export")
    parser.add_argument("--vegeta", default="vegeta")
    parser.add_argument("--also", metavar="FILE", help="another build of mvag-torch, as with TAGS=libjpeg")
    parser.add_argument("--only", help="one of the programs, for a first look")
    parser.add_argument("--set", action="append", default=[], help="further settings of mvag-torch")
    a = parser.parse_args()
    checkpoint, graph, targets, count = make(a.folder, a.size, a.side)
    out = os.path.join(a.folder, "serve-out")
    ours = [bench_export.PROGRAM, "serve", "-m", checkpoint, "--addr", f"127.0.0.1:{PORT}", "--out", out]
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", "third_party", "bench_serve_app:app", "--port", str(PORT), "--log-level", "warning"]
    environment = {"OMP_NUM_THREADS": str(a.threads), "APP_THREADS": str(a.threads), "APP_MODEL": graph}
    ours += [w for s in ["device=cpu", *a.set] for w in ("--set", s)]
    programs = {
        "mvag-torch serve": (ours, environment),
        **({f"{a.also} serve": ([a.also, *ours[1:]], environment)} if a.also else {}),
        "FastAPI, ONNX Runtime": (uvicorn, environment),
        "FastAPI, PyTorch": (uvicorn, environment | {"APP_TORCH": a.size}),
    }
    programs = {k: v for k, v in programs.items() if a.only in (None, k)}
    results, order, half = {name: {"full": [], "half": []} for name in programs}, list(programs), None
    with open(os.path.join(a.folder, "serve.log"), "w") as log:
        for turn in range(a.rounds):
            for load in ("full", "half"):
                for name in order[turn % len(order) :] + order[: turn % len(order)]:
                    shutil.rmtree(out, ignore_errors=True)
                    server = Server(*programs[name], log)
                    attack(a.vegeta, targets, 5, "-rate=0", "-workers=2", "-max-workers=2")
                    results[name][load].append(measure(server, a, targets, half if load == "half" else None))
                    server.stop()
                    print(f"round {turn + 1}, {load}: {name}: {results[name][load][-1]}", file=sys.stderr)
                if load == "full" and half is None:
                    half = min(r["full"][0]["rate"] for r in results.values()) / 2
    print(f"{a.size}, objects of 5 JPEG files of {a.side} x {a.side} pixels ({count} of them in turn), {a.threads} threads, {a.clients} clients, "
          f"{a.rounds} rounds of {a.seconds} s; half load is {half:.2f} objects/s\n")
    print("| program | objects/s | ratio | p50, p95, p99 saturated (ms) | p50, p95, p99 at half load (ms) | memory (MB) | lost |\n|---|---|---|---|---|---|---|")
    first = None
    for name, r in results.items():
        mid = lambda load, key: statistics.median(m[key] for m in r[load])
        first = first or mid("full", "rate")
        times = lambda load: ", ".join(f"{mid(load, p):.0f}" for p in ("50th", "95th", "99th"))
        print(f"| {name} | {mid('full', 'rate'):.2f} | {first / mid('full', 'rate'):.2f} | {times('full')} | {times('half')} | "
              f"{mid('full', 'memory') / 1e6:.0f} | {sum(m['lost'] for load in r.values() for m in load)} |")


if __name__ == "__main__":
    main()
