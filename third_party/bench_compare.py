"""Times mvag-torch and the same model in eager PyTorch in turn, and prints the
medians and their ratios.

    python3 third_party/bench_compare.py --size s224 --device cpu --threads 2 --rounds 3

Needs bin/mvag-torch and a Python with torch (third_party/export_requirements.txt).
Each round runs every program once, so that other load of the machine affects all
of them. The order rotates from round to round.
"""

import argparse
import json
import statistics
import subprocess
import sys

OURS = ["bin/mvag-torch", "bench"]
TORCH = [sys.executable, "third_party/bench_torch.py"]
CACHED = ["--set", "train.cache_features=ram"]
BF16 = ["--set", "precision=bf16"]


def programs(what, bf16, compiled):
    if what == "infer":
        rows = {"ours, fp32": OURS, "PyTorch, fp32": TORCH}
    else:
        rows = {
            "ours, fp32": OURS,
            "ours, fp32, cached features": OURS + CACHED,
            "PyTorch, fp32, vectorised": TORCH,
            "PyTorch, fp32, published loops": TORCH + ["--attention", "looped"],
        }
    if bf16:
        rows["ours, bf16"] = OURS + BF16
        rows["PyTorch, bf16"] = TORCH + ["--precision", "bf16"]
        if what == "train":
            rows["ours, bf16, cached features"] = OURS + BF16 + CACHED
    if compiled:
        rows |= {name + ", compiled": row + ["--compile"] for name, row in rows.items() if row[0] == sys.executable and "looped" not in row}
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="s224")
    parser.add_argument("--what", choices=["train", "infer"], default="train")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", default="0")
    parser.add_argument("--steps", default="5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="bfloat16, too")
    parser.add_argument("--compiled", action="store_true", help="torch.compile, too")
    a = parser.parse_args()
    common = ["--size", a.size, "--what", a.what, "--device", a.device, "--threads", a.threads, "--steps", a.steps]
    rows = programs(a.what, a.bf16, a.compiled)
    seconds, last = {name: [] for name in rows}, {}
    order = list(rows)
    for turn in range(a.rounds):
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            out = subprocess.run(rows[name] + common, stdout=subprocess.PIPE, check=True, text=True).stdout
            last[name] = json.loads(out)
            seconds[name] += last[name]["seconds"]
            print(f"round {turn + 1}: {name}: {statistics.median(last[name]['seconds']):.4f} s", file=sys.stderr)
    median = {name: statistics.median(s) for name, s in seconds.items()}
    references = [name for name in rows if name.startswith("PyTorch")]
    first = last[order[0]]
    print(f"{a.what}, {a.size}, {first['images']} images a step, {a.device}, {first['threads']} threads, {a.rounds} rounds of {a.steps} steps\n")
    print("| program | s a step | images/s | peak GB | " + " | ".join(f"x {name}" for name in references) + " |")
    print("|---|" + "---|" * (3 + len(references)))
    for name in rows:
        ratios = " | ".join(f"{median[r] / median[name]:.2f}" for r in references)
        print(f"| {name} | {median[name]:.4f} | {first['images'] / median[name]:.2f} | {last[name]['peak_bytes'] / 1e9:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
