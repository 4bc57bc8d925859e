#!/usr/bin/env python3
"""Computes metrics of synthetic maps with Python programs, to compare with.

    python3 third_party/bench_metrics.py OUT --images 200

Writes OUT/bench.maps.npy and OUT/bench.masks.npy, for the Go benchmark and
`mvag-torch metrics OUT`, and prints one JSON object, which is also written to
OUT/bench.json: values, seconds and CPU seconds of scikit-learn (AUROC, average
precision, F1 over its curve, of pixels and of images), of Dinomaly's compute_pro
(200 thresholds over all images; after github.com/guojiajeremy/Dinomaly, utils.py),
and of ADEval if it is installed. Needs numpy, scikit-learn and scikit-image; ADEval
needs opencv. What has no package is left out. The AUPRO of MVTec's tool, exact with
interpolation at 0.3, is computed by its formula.

Every threshold of compute_pro takes the same time. --timed 10 runs 10 of the 200,
multiplies their seconds by 20 and returns no value. Maps that OUT already has for
the same number of images and seed are used again.
"""

import argparse
import json
import math
import os
import pathlib
import resource
import time

import numpy as np

SIDE, CELLS = 256, 28


def images(n, seed):
    """Log-normal scores on a grid, bilinear between; 45 % of the images have
    one elliptic defect, in all about 0.56 % of the pixels."""
    rng = np.random.default_rng(seed)
    at = np.arange(SIDE) * CELLS / SIDE
    low = at.astype(int)
    part = (at - low).astype(np.float32)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    maps = np.empty((n, SIDE, SIDE), np.float32)
    masks = np.zeros((n, SIDE, SIDE), np.uint8)
    for i in range(n):
        grid = (0.05 * np.exp(0.5 * rng.standard_normal((CELLS + 1, CELLS + 1)))).astype(np.float32)
        rows = grid[low] * (1 - part)[:, None] + grid[low + 1] * part[:, None]
        maps[i] = rows[:, low] * (1 - part) + rows[:, low + 1] * part
        if i % 20 < 9:
            cy, cx = 40 + 176 * rng.random(2)
            ry, rx = 9 + 14 * rng.random(2)
            d = np.hypot((x - cx) / rx, (y - cy) / ry)
            masks[i] = d < 1
            maps[i] += 0.12 * np.exp(-d * d).astype(np.float32)
    return maps, masks


def ranking(scores, labels):
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / (precision + recall + 1e-7)
    exact = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return {
        "AUROC": roc_auc_score(labels, scores),
        "AP": average_precision_score(labels, scores),
        "F1max": float(exact[:-1].max()),
        "F1eps": float(f1[:-1].max()),
        "AUPR": float(-np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2)),
    }


def dinomaly_aupro(masks, maps, thresholds=200, timed=200):
    """Returns None if fewer thresholds are timed than there are."""
    from skimage import measure

    low, high = float(maps.min()), float(maps.max())
    step = (high - low) / thresholds
    points = []
    inverse = 1 - masks.astype(bool)
    for k in range(0, thresholds, thresholds // timed):
        found = maps > low + k * step
        overlaps = []
        for binary, mask in zip(found, masks):
            for region in measure.regionprops(measure.label(mask)):
                rows, columns = region.coords[:, 0], region.coords[:, 1]
                overlaps.append(binary[rows, columns].sum() / region.area)
        fpr = np.logical_and(inverse, found).sum() / inverse.sum()
        points.append((fpr, np.mean(overlaps)))
    if timed < thresholds:
        return None
    points = np.array([p for p in points if p[0] < 0.3])[::-1]
    x, y = points[:, 0] / points[:, 0].max(), points[:, 1]
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


def mvtec_aupro(masks, maps, limit=0.3):
    from skimage import measure

    weight = np.zeros(masks.shape)
    for i, mask in enumerate(masks):
        for region in measure.regionprops(measure.label(mask)):
            weight[i][region.coords[:, 0], region.coords[:, 1]] = 1 / region.area
    regions = weight.sum()
    order = np.argsort(-maps.ravel(), kind="stable")
    scores = maps.ravel()[order]
    negative = masks.ravel()[order] == 0
    last = np.append(np.diff(scores) != 0, True)
    fpr = np.concatenate([[0], np.cumsum(negative)[last] / negative.sum()])
    pro = np.concatenate([[0], np.cumsum(weight.ravel()[order])[last] / regions])
    end = int(np.searchsorted(fpr, limit, side="right"))
    if end < len(fpr):
        at = pro[end - 1] + (pro[end] - pro[end - 1]) * (limit - fpr[end - 1]) / (fpr[end] - fpr[end - 1])
        fpr, pro = np.append(fpr[:end], limit), np.append(pro[:end], at)
    return float(np.sum(np.diff(fpr) * (pro[1:] + pro[:-1]) / 2) / limit)


def adeval(masks, maps):
    if not hasattr(np, "trapz"):  # NumPy 2 renamed it; ADEval 1.1 calls it
        np.trapz = np.trapezoid
    from adeval import auroc_aupr_aupro

    auroc, aupr, aupro = auroc_aupr_aupro(maps, masks)
    return {"AUROC": auroc, "AUPR": aupr, "AUPRO": aupro}


def top_mean(maps):
    flat = np.sort(maps.reshape(len(maps), -1), axis=1)
    return flat[:, -max(1, int(0.01 * flat.shape[1])) :].mean(axis=1, dtype=np.float64).astype(np.float32)


def process_seconds():
    """CPU seconds of this process and its children, as in ADEval."""
    return sum(os.times()[:4])


def stored(args):
    """Returns the maps and masks of OUT, made if need be."""
    recipe = {"images": args.images, "seed": args.seed}
    path = args.out / "bench.recipe.json"
    files = [args.out / "bench.maps.npy", args.out / "bench.masks.npy"]
    if not (path.exists() and json.loads(path.read_text()) == recipe):
        args.out.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        for file, array in zip(files, images(args.images, args.seed)):
            np.save(file, array)
        path.write_text(json.dumps(recipe))
    return [np.load(file) for file in files]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timed", type=int, default=200, choices=[1, 2, 4, 5, 10, 20, 40, 50, 100, 200], help="thresholds of compute_pro to run")
    args = parser.parse_args()
    maps, masks = stored(args)
    result = {"maps": args.images, "values": maps.size, "defective": float(masks.mean()), "seconds": {}, "cpu_seconds": {}, "missing": []}

    def part(name, work, scale=1):
        start, cpu = time.perf_counter(), process_seconds()
        try:
            result[name] = work()
        except ImportError as err:
            result["missing"].append(f"{name}: {err}")
            return
        result["seconds"][name] = round(scale * (time.perf_counter() - start), 3)
        result["cpu_seconds"][name] = round(scale * (process_seconds() - cpu), 3)

    labels = masks.reshape(len(masks), -1).max(axis=1)
    part("pixels", lambda: ranking(maps.ravel(), masks.ravel()))
    part("images", lambda: ranking(top_mean(maps), labels))
    part("dinomaly_aupro", lambda: dinomaly_aupro(masks, maps, timed=args.timed), 200 / args.timed)
    part("adeval", lambda: adeval(masks, maps))
    if args.timed == 200:  # else only times are wanted
        part("mvtec_aupro", lambda: mvtec_aupro(masks, maps))
    result["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert all(math.isfinite(v) for v in result.get("pixels", {}).values())
    text = json.dumps(result, indent=1)
    (args.out / "bench.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
