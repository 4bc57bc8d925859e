#!/usr/bin/env python3
"""Writes what a model of timm computes, for a test of the encoder (model/python_test.go).

    python3 third_party/parity.py NAME OUT SIZE...

OUT/weights.safetensors has random weights under timm's names, and OUT/trace.safetensors, for each
SIZE, ROWSxCOLUMNS in pixels, the picture "SIZE" and the tokens "SIZE.9" behind block 9,
computed in float64. Of a model without blocks of one shape name modules after a
colon: NAME:stages.2.0,stages.2.1 leaves OUT/module.pt of export_backbone.py instead, and
its outputs "SIZE.0", "SIZE.1" and so on, for one SIZE.
"""

import sys
from pathlib import Path

import timm
import torch
from export_backbone import Tokens, build, export
from record_traces import tokens
from safetensors.torch import save_file


def spread(model):
    """Weights of a size at which every part shows."""
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        centre = 1.0 if ("norm" in name and name.endswith("weight")) or "gamma" in name else 0.0
        width = parameter[0].numel() ** -0.5 if parameter.ndim > 1 and len(parameter) > 1 else 0.25
        parameter.data = centre + width * torch.randn_like(parameter)
    return model


def main():
    name, out, *sizes = sys.argv[1:]
    name, _, layers = name.partition(":")
    out, trace = Path(out), {}
    if layers:
        size = int(sizes[0].split("x")[0])
        model = spread(build(name, True, size)[0])
        export(model, layers.split(","), name, size, out / "module.pt", random=True)
        wrapped = Tokens(model, layers.split(",")).double()
    else:
        model = spread(timm.create_model(name, num_classes=0, dynamic_img_size=True).eval())
        save_file({key: value.clone() for key, value in model.state_dict().items()}, out / "weights.safetensors")
    model.double()
    for size in sizes:
        rows, columns = map(int, size.split("x"))
        picture = torch.randn(1, 3, rows, columns)
        trace[size] = picture
        with torch.no_grad():
            outputs = wrapped(picture.double()) if layers else tokens(model, picture.double(), [9])
        for i, y in enumerate(outputs):
            trace[f"{size}.{i if layers else 9}"] = y.float().contiguous()
    save_file(trace, out / "trace.safetensors")


if __name__ == "__main__":
    main()
