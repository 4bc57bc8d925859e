#!/usr/bin/env python3
"""Writes a DINOv2 vision transformer of timm as a TorchScript archive.

    python3 third_party/export_backbone.py --timm vit_base_patch14_reg4_dinov2 -o backbones/vitb.pt

The archive holds timm's parameters under timm's names, which is what
mvag-torch reads, and a forward that takes pictures of any size. It needs torch
and timm (pip install torch timm); timm fetches the official weights.
"""

import argparse
import io
import os
import sys
import warnings

MODELS = [
    f"vit_{size}_patch14{registers}_dinov2"
    for size in ("small", "base", "large")
    for registers in ("", "_reg4")
]


def fail(text):
    sys.exit(f"export_backbone: {' '.join(str(text).split())}")


try:
    import timm
    import torch
except ImportError as err:
    fail(f"{err}; run pip install torch timm")


def build(name, random):
    """The model without a head, in evaluation mode."""
    try:
        model = timm.create_model(name, pretrained=not random, num_classes=0, dynamic_img_size=True)
    except Exception as err:  # whatever timm's fetching raises
        fail(f"{name}: {err}")
    return model.eval()


def check(model, path):
    """Stops unless the archive at path holds the tensors of model, all equal."""
    want = model.state_dict()
    have = torch.jit.load(path, map_location="cpu").state_dict()
    if list(have) != list(want):
        fail(f"{path}: have tensors {sorted(have.keys() ^ want.keys())} on one side only")
    for key, tensor in want.items():
        if have[key].dtype != tensor.dtype or not torch.equal(have[key], tensor):
            fail(f"{path}: {key}: have other values after reloading")
    return len(want)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timm", required=True, choices=MODELS, metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("-o", required=True, metavar="FILE", dest="out", help="the archive to write")
    parser.add_argument("--half", action="store_true", help="store float16: half the size")
    parser.add_argument("--random", action="store_true", help="random weights, for tests: fetch nothing")
    args = parser.parse_args()

    model = build(args.timm, args.random)
    if args.half:
        model = model.half()
    part = args.out + ".part"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript still works in 2.11
            archive = io.BytesIO()  # writing it directly, LibTorch aborts on a full disk
            torch.jit.save(torch.jit.script(model), archive)
        with open(part, "wb") as file:
            file.write(archive.getbuffer())
        count = check(model, part)
        os.replace(part, args.out)
    except (OSError, RuntimeError) as err:
        fail(f"{args.out}: {str(err).splitlines()[0]}")
    finally:
        if os.path.exists(part):
            os.remove(part)
    print(f"{args.out}: {args.timm}, {count} tensors, {os.path.getsize(args.out)} bytes")


if __name__ == "__main__":
    main()
