"""Thresholds from the scores of good objects, as package model/calibration derives them (docs/calibration.md), for programs
that change a model: quantize_openvino.py. TestPythonFit compares the two. Needs numpy.
"""

import math

import numpy as np


def quantile(units, rate):
    """The smallest value with (objects above it + 1) / (n + 1) <= rate, else the largest; and the rate that holds. A
    unit is the values of an object, which count as one."""
    pairs = sorted(((v, 1 / len(u)) for u in units for v in u), reverse=True)
    best, held, above = pairs[0][0], 1 / (len(units) + 1), 0.0
    for i, (value, weight) in enumerate(pairs):
        if i and value < pairs[i - 1][0]:
            if (above + 1) / (len(units) + 1) > rate * (1 + 1e-9):
                break
            best, held = value, (above + 1) / (len(units) + 1)
        above += weight
    return best, held


def moments(units):
    """Mean, and sum of squared distances from it, where each unit counts as one."""
    center = float(np.mean([np.mean(u) for u in units]))
    return center, sum(float(np.mean((u - center) ** 2)) for u in units)


def widen(n):
    return math.sqrt(1 + 1 / n)


def fit(units, classes, names, rate):
    """Fits logarithms of scores, an array for each object: for each class, and last for any class, threshold, basis, rate,
    number of objects, center and spread."""
    center, square = moments(units)
    limit, held = quantile(units, rate)
    pooled = [math.exp(limit), "pooled", held, len(units), center, max(0.01, math.sqrt(square / (len(units) - 1)) * widen(len(units)))]
    own = {name: [u for u, c in zip(units, classes) if c == name] for name in names}
    own = {name: of for name, of in own.items() if len(of) >= 2}
    distances = [(u - moments(of[:i] + of[i + 1 :])[0]) / widen(len(of) - 1) for of in own.values() for i, u in enumerate(of)]
    total, freedom = sum(moments(of)[1] for of in own.values()), sum(len(of) - 1 for of in own.values())
    rows = []
    for name in names:
        if name not in own:
            rows.append(pooled)
            continue
        of = own[name]
        center, n = moments(of)[0], len(of)
        (limit, held), basis, objects = quantile(of, rate), "class", n
        if held > rate * (1 + 1e-9) and n < len(units):
            (shift, held), basis, objects = quantile(distances, rate), "shift", len(distances)
            limit = center + shift * widen(n)
        rows.append([math.exp(limit), basis, held, objects, center, max(0.01, math.sqrt(total / freedom) * widen(n))])
    return rows + [pooled]
