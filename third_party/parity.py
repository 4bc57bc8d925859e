#!/usr/bin/env python3
"""Computes the outputs of a timm model, for a test of the encoder (model/python_test.go).

    python3 third_party/parity.py NAME OUT SIZE...

OUT/weights.safetensors has random weights with timm's names. OUT/trace.safetensors has
for each SIZE, ROWSxCOLUMNS in pixels, the image "SIZE" and the tokens "SIZE.9" after
block 9, computed in float64. For a model without blocks of one shape, name modules
after a colon: NAME:stages.2.0,stages.2.1 writes OUT/module.pt with export_backbone.py
instead, and its outputs "SIZE.0", "SIZE.1" and so on, for one SIZE.
"""

import sys
from pathlib import Path

import timm
import torch
from export_backbone import Tokens, build, export
from record_traces import tokens
from safetensors.torch import save_file


def spread(model):
    """Weights of a magnitude at which every part matters."""
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
        image = torch.randn(1, 3, rows, columns)
        trace[size] = image
        with torch.no_grad():
            outputs = wrapped(image.double()) if layers else tokens(model, image.double(), [9])
        for i, y in enumerate(outputs):
            trace[f"{size}.{i if layers else 9}"] = y.float().contiguous()
    save_file(trace, out / "trace.safetensors")


if __name__ == "__main__":
    main()
