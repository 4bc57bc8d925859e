"""Trains and evaluates variants of the model on one data set, over several seeds,
and prints a table of their metrics: mean and standard deviation over seeds.

    python3 third_party/ablation.py -c realiad --set data.root=data/Real-IAD --seeds 1,2,3 --iterations 5000

Needs bin/mvag-torch (make). Everything after -c and --set goes to every run; what
a variant changes is in VARIANTS. Every run has a folder of its own below --out, and
a run whose results are there is not done again, so that the same command goes on
after an interruption, after --minutes, or with more seeds. The first seed of all
variants comes first. For runs with one view an object, an object is made of each
image, by a table that is written to data.root; that needs the layout of Real-IAD.
"""

import argparse
import csv
import json
import math
import pathlib
import re
import statistics
import subprocess
import sys
import time

VARIANTS = {  # name: settings that differ from the published model; None: each image is an object
    "published": [],
    "one view an object": None,
    "select: highest": ["model.select=highest"],
    "select: all": ["model.select=all"],
    "without attention across views": ["model.keep=0"],
    "keep: 0.1": ["model.keep=0.1"],
    "keep: 1": ["model.keep=1"],
    "without jitter": ["model.jitter.enabled=false"],
    "hard fraction 0.9": ["train.hard_fraction=0.9"],
    "constant rate": ["train.lr_final=0.002"],
}
METRICS = ["I-AUROC", "I-AP", "P-AUROC", "P-AP", "P-F1max", "AUPRO", "mAD", "O-AUROC"]


def settings_of(program, common):
    """The effective configuration of all runs, as mvag-torch prints it, by path."""
    text = subprocess.run([program, "config", *common], stdout=subprocess.PIPE, check=True, text=True).stdout
    path, values = [], {}
    for line in text.splitlines():
        m = re.match(r"( *)([a-z_]+):(?: +(.*))?$", line.split(" #")[0].rstrip())
        if m:
            del path[len(m[1]) // 2 :]
            path.append(m[2])
            values[".".join(path)] = (m[3] or "").strip("\"'")
    return values


def single(values, out):
    """The settings of a run in which each image is an object, with as many images in a batch."""
    root = pathlib.Path(values["data.root"])
    table = root / f"{out.name}-single.csv"
    with open(table, "w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["class", "path", "split", "label", "mask"])
        for index in sorted((root / values["data.index"]).glob("*.json")):
            content = json.loads(index.read_text())
            folder = pathlib.Path(values["data.images"]) / content["meta"]["prefix"]
            normal = content["meta"]["normal_class"]
            for split in ("train", "test"):
                for e in content[split]:
                    label = "good" if e["anomaly_class"] == normal else e["anomaly_class"]
                    mask = folder / e["mask_path"] if e["mask_path"] else ""
                    rows.writerow([e["category"], folder / e["image_path"], split, label, mask])
    images = int(values["train.objects"]) * int(values["data.views"])
    judged = int(values["eval.objects"]) * int(values["data.views"])
    return ["data.format=table", f"data.table={table.name}", "data.views=1", f"train.objects={images}", f"eval.objects={judged}"]


def auroc(good, bad):
    """The area under the ROC curve of two lists of scores, ties at one half."""
    order = sorted([(s, 0) for s in good] + [(s, 1) for s in bad])
    rank, below, i = 0.0, 0, 0
    while i < len(order):
        j = i
        while j < len(order) and order[j][0] == order[i][0]:
            j += 1
        positive = sum(label for _, label in order[i:j])
        negative = j - i - positive
        rank += positive * (below + negative / 2)
        below += negative
        i = j
    return rank / (len(good) * len(bad)) if good and bad else math.nan


def objects_auroc(folder, head):
    """The mean over classes of the AUROC of objects by their highest image, also where each image was an object of its
    own: images of one folder, class and split belong together, as in Real-IAD."""
    classes = {}
    with open(folder / "scores.jsonl") as f:
        for line in f:
            row = json.loads(line)
            score = row["score"] if head == "reconstruction" else row["heads"][head]
            best = classes.setdefault(row["class"], {}).setdefault(str(pathlib.Path(row["path"]).parent), [-math.inf, False])
            best[0], best[1] = max(best[0], score), best[1] or row["label"] == 1
    return statistics.mean(auroc([s for s, bad in c.values() if not bad], [s for s, bad in c.values() if bad]) for c in classes.values())


def metrics_of(folder):
    """The metrics of a run in percent, by head."""
    results = json.loads((folder / "results.json").read_text())
    heads = {"reconstruction": results["mean"], **results.get("heads", {})}
    return {h: {**{k: 100 * v for k, v in m.items() if v is not None}, "O-AUROC": 100 * objects_auroc(folder, h)} for h, m in heads.items()}


def table(rows):
    """Mean and standard deviation over seeds, as a table of Markdown."""
    print(f"\n| variant | head | seeds | {' | '.join(METRICS)} |\n|{'---|' * (len(METRICS) + 3)}")
    for name, seeds in rows.items():
        for head in seeds[0]:
            have = [s[head] for s in seeds if head in s]
            cells = []
            for metric in METRICS:
                v = [m[metric] for m in have if metric in m]
                spread = f" ± {statistics.stdev(v):.1f}" if len(v) > 1 else ""
                cells.append(f"{statistics.mean(v):.1f}{spread}" if v else "")
            print(f"| {name} | {head} | {len(have)} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", required=True)
    parser.add_argument("--set", action="append", default=[], help="a setting of all runs")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--iterations", type=int, default=5000)
    parser.add_argument("--only", default=".", help="variants whose name matches this regular expression")
    parser.add_argument("--out", default="runs/ablation")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no run starts or goes on after that")
    parser.add_argument("--program", default="bin/mvag-torch")
    a = parser.parse_args()
    out, end = pathlib.Path(a.out), time.monotonic() + 60 * a.minutes
    out.mkdir(parents=True, exist_ok=True)
    sets = [*a.set, f"train.iterations={a.iterations}", f"output={out}"]
    common = ["-c", a.config, *(x for s in sets for x in ("--set", s))]
    values, failed = settings_of(a.program, common), 0

    def call(log, *command):
        nonlocal failed
        with open(log, "a") as f:
            process = subprocess.Popen([a.program, *command], stdout=f, stderr=f)
            try:
                code = process.wait(None if end == math.inf else max(0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.terminate()  # training writes a checkpoint, and goes on from there next time
                process.wait()
                return False
        if code != 0:
            failed += 1
            print(f"FAILED with exit code {code}: {' '.join(command)}, see {log}", file=sys.stderr)
        return code == 0

    names = [n for n in VARIANTS if re.search(a.only, n)]
    rows, left = {n: [] for n in names}, 0
    for seed in a.seeds.split(","):
        for name in names:
            folder = out / f"{re.sub('[^a-z0-9.]+', '-', name)}-{seed}"
            if not (folder / "results.json").exists() and time.monotonic() < end:
                began = time.monotonic()
                changed = single(values, out) if VARIANTS[name] is None else VARIANTS[name]
                own = [x for s in [*changed, f"seed={seed}", f"name={folder.name}"] for x in ("--set", s)]
                log = out / f"{folder.name}.log"
                done = call(log, "train", *common, *own, "--resume") and call(log, "eval", "-m", folder / "checkpoint.safetensors")
                print(f"{folder.name}: {'done' if done else 'not done'} after {time.monotonic() - began:.0f} s", file=sys.stderr)
            if (folder / "results.json").exists():
                rows[name].append(metrics_of(folder))
            else:
                left += 1
    table({n: r for n, r in rows.items() if r})
    print(f"\n{left} runs left, {failed} failed", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
