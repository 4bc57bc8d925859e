#!/usr/bin/env python3
"""Exports a timm backbone as a TorchScript archive that mvag-torch reads or runs.

    python3 third_party/export_backbone.py --timm vit_base_patch14_reg4_dinov2 -o backbones/vitb.pt

The archive has timm's parameters with timm's names (prefixed "model."), for
backbone.mode native, and a forward that maps images to the tokens of the layers, for
backbone.mode module. extra/mvag.json describes it: architecture, input statistics,
size, patch, tokens, layers, versions, licence, SHA-256 of the weights
(docs/format/weights.md). Needs torch and timm (export_requirements.txt); timm downloads
the official weights.
"""

import argparse
import hashlib
import inspect
import io
import json
import os
import re
import sys
import warnings


def fail(text):
    sys.exit(f"export_backbone: {' '.join(str(text).split())}")


try:
    import timm
    import torch
except ImportError as err:
    fail(f"{err}; see third_party/README.md for what to install")


class Tokens(torch.nn.Module):
    """Maps images [B, 3, H, W] to the outputs [B, N, C] of layers of a model: blocks
    by number, or modules by name."""

    def __init__(self, model, layers):
        super().__init__()
        self.model, self.layers, self.seen, self.grid = model, layers, {}, None
        self.blocks = all(layer.isdigit() for layer in layers)
        if self.blocks:
            self.options = {"indices": [int(layer) for layer in layers], "norm": False, "intermediates_only": True}
            known = inspect.signature(model.forward_intermediates).parameters
            self.options |= {"output_fmt": "NCHW"} if "output_fmt" in known else {}
            self.options |= {"return_prefix_tokens": True} if "return_prefix_tokens" in known else {}
            return
        for layer in layers:
            model.get_submodule(layer).register_forward_hook(self.keep(layer))

    def keep(self, layer):
        def hook(_module, _inputs, output):
            self.seen[layer] = output[0] if isinstance(output, (list, tuple)) else output

        return hook

    def forward(self, x):
        if self.blocks:
            return [self.flat(y) for y in self.model.forward_intermediates(x, **self.options)]
        self.model.forward_features(x)
        return [self.flat(self.seen[layer]) for layer in self.layers]

    def flat(self, y):
        prefix = None
        if isinstance(y, (list, tuple)):
            y, prefix = y
        if y.ndim == 4:
            if y.shape[1] == y.shape[2] != y.shape[3]:  # [B, H, W, C]: images are square
                y = y.permute(0, 3, 1, 2)
            self.grid = int(y.shape[2])
            y = y.flatten(2).transpose(1, 2)
        else:
            self.grid = int((y.shape[1] - getattr(self.model, "num_prefix_tokens", 0)) ** 0.5)
        return y if prefix is None else torch.cat((prefix, y), dim=1)


def build(name, random, size):
    """Returns the model without a head, in evaluation mode, and its image size."""
    model = None
    for options in ({"dynamic_img_size": True}, {"img_size": size} if size else {}, {}):
        try:
            model = timm.create_model(name, pretrained=not random, num_classes=0, **options)
            break
        except TypeError as err:  # the model has no such option
            last = err
        except Exception as err:  # whatever timm's download raises
            fail(f"{name}: {err}")
    if model is None:
        fail(f"{name}: {last}")
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", 32)
    patch = patch if isinstance(patch, int) else patch[0]
    return model.eval(), size or 392 // patch * patch


def default_layers(model):
    """Returns the blocks that are reconstructed: 2 to 9 of 12, in proportion for other depths."""
    depth = len(model.blocks) if hasattr(model, "blocks") else len(getattr(model, "feature_info", ()))
    if depth in (24, 40):
        chosen = range(4, 19, 2) if depth == 24 else range(8, 30, 3)
    else:
        chosen = sorted({(2 + i) * depth // 12 for i in range(8)}) if depth else []
    if not chosen or not hasattr(model, "forward_intermediates"):
        fail("the model has no list of blocks; name modules with --layers")
    return [str(i) for i in chosen]


def candidates(model, size):
    """Lists numbered modules with outputs of one shape."""
    groups = {}

    def note(name):
        def hook(_module, _inputs, output):
            if torch.is_tensor(output) and output.ndim > 2 and name[-1].isdigit():
                groups.setdefault((re.sub(r"\d+$", "", name), tuple(output.shape[1:])), []).append(name)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    with torch.no_grad():
        model.forward_features(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    found = [f"{names[0]} to {names[-1]} {list(shape)}" for (_, shape), names in groups.items() if len(names) > 2]
    return "; ".join(found) or "none found"


def digest(tensors):
    """SHA-256 over names, each with a zero byte, and values as float32, by name."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        sha.update(name.encode() + b"\0")
        sha.update(tensors[name].float().contiguous().numpy().astype("<f4", copy=False).tobytes())
    return sha.hexdigest()


def heads_of(model, channels):
    for module in model.modules():
        heads = getattr(module, "num_heads", None)
        if isinstance(heads, int) and channels % heads == 0:
            return heads
    return next(n for n in range(max(1, channels // 64), 0, -1) if channels % n == 0)


def describe(tokens, name, size, outputs, random):
    model = tokens.model
    shapes = {tuple(y.shape[1:]) for y in outputs}
    if len(shapes) > 1:
        fail(f"{name}: the layers give {sorted(shapes)}, want one shape; of one shape are: {candidates(model, size)}")
    count, channels = shapes.pop()
    config = model.pretrained_cfg
    tag = config.get("tag") or ""
    return {
        "format": 1,
        "arch": config.get("architecture", name) + (f".{tag}" if tag and not random else ""),
        "mean": list(config["mean"]), "std": list(config["std"]),
        "height": size, "width": size, "patch": size // tokens.grid, "prefix": count - tokens.grid**2,
        "channels": channels, "heads": heads_of(model, channels), "layers": tokens.layers,
        "licence": "none: random weights" if random else config.get("license") or "not stated by timm",
        "timm": timm.__version__, "torch": torch.__version__, "sha256": "",
    }


def check(path, meta, want, tokens, size):
    """Stops unless the archive at path holds the tensors of want, all equal, and
    computes what tokens does. Returns the largest difference."""
    extra = {"mvag.json": ""}
    archive = torch.jit.load(path, map_location="cpu", _extra_files=extra)
    have = archive.state_dict()
    if json.loads(extra["mvag.json"]) != meta:
        fail(f"{path}: has another description after reloading")
    if list(have) != list(want):
        fail(f"{path}: have tensors {sorted(have.keys() ^ want.keys())} on one side only")
    for key, tensor in want.items():
        if have[key].dtype != tensor.dtype or not torch.equal(have[key], tensor):
            fail(f"{path}: {key}: have other values after reloading")
    if digest(have) != meta["sha256"]:
        fail(f"{path}: have another SHA-256 of the weights after reloading")
    worst = 0.0
    images = torch.randn(3, 3, size, size)  # another batch than that of the trace
    with torch.no_grad():
        for x, y in zip(archive.float()(images), tokens.float()(images), strict=True):
            worst = max(worst, ((x - y).abs().max() / y.abs().max()).item())
    if not worst < 1e-4:
        fail(f"{path}: computes otherwise after reloading, by {worst:.1e} of the largest value")
    return worst


def export(model, layers, name, size, path, half=False, random=False):
    """Writes the archive; returns its description and the difference found."""
    tokens = Tokens(model, layers).eval()
    if half:  # kept in float16, computed in float32
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.data = tensor.data.half().float()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript still works in 2.11; sizes are meant to be fixed
        example = torch.zeros(2, 3, size, size)
        outputs = tokens(example)
        meta = describe(tokens, name, size, outputs, random)
        traced = torch.jit.trace(tokens, example, check_trace=False)
        traced = traced.half() if half else traced
        want = traced.state_dict()
        meta["sha256"] = digest(want)
        archive = io.BytesIO()  # writing it directly, LibTorch aborts on a full disk
        torch.jit.save(traced, archive, _extra_files={"mvag.json": json.dumps(meta)})
    part = f"{path}.part"
    try:
        with open(part, "wb") as file:
            file.write(archive.getbuffer())
        worst = check(part, meta, want, tokens, size)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return meta, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timm", required=True, metavar="NAME", help="of a model in timm.list_models()")
    parser.add_argument("--layers", help="blocks by number, such as 2,3,4, or modules by name, such as stages.2.0,stages.2.1; "
                        "2 to 9 of 12 blocks by default, in proportion for other depths")
    parser.add_argument("--size", type=int, help="image size, which backbone.mode module fixes: data.crop; "
                        "392, or the next smaller multiple of the patch size, by default")
    parser.add_argument("-o", required=True, metavar="FILE", dest="out", help="the archive to write")
    parser.add_argument("--half", action="store_true", help="store float16: half the size")
    parser.add_argument("--random", action="store_true", help="random weights, for tests: download nothing")
    args = parser.parse_args()
    try:
        model, size = build(args.timm, args.random, args.size)
        layers = args.layers.split(",") if args.layers else default_layers(model)
        meta, worst = export(model, layers, args.timm, size, args.out, args.half, args.random)
    except Exception as err:  # whatever a model of timm or the disk raises
        fail(f"{args.timm}: {str(err).splitlines()[0] if str(err) else type(err).__name__}")
    with open(args.out, "rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    print(f"{args.out}: {meta['arch']}, {meta['height']} x {meta['width']} pixels, layers {','.join(meta['layers'])}, "
          f"{meta['channels']} channels, {os.path.getsize(args.out)} bytes, SHA-256 {sha}")
    print(f"reloaded: same tensors, outputs within {worst:.1e} of the largest")


if __name__ == "__main__":
    main()
