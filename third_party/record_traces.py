#!/usr/bin/env python3
"""Saves what timm's vision transformers compute, for tests of the encoder.

    python3 third_party/record_traces.py

Writes to model/testdata/families, for each family, FAMILY.pth, a small model with
random float16 weights and timm's names, and families.safetensors: for images of two
sizes the input, FAMILY.H.W, and the tokens [1, N, C] after each block,
FAMILY.H.W.BLOCK, computed in float64. module.pt and module.safetensors are an archive
of export_backbone.py and its outputs. Of two models of full size only the tokens after
block 9 are kept: their weights and images are those of fill, which the tests also
compute. Also writes internal/pytorch/testdata/kinds.pth, a state dict with all kinds of
tensors. Needs export_requirements.txt; no weights are downloaded.
"""

import math
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from export_backbone import export
from safetensors.torch import save_file
from timm.layers import LayerNorm, SwiGLUPacked
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

SMALL = dict(img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=0, dynamic_img_size=True)
CLIP = dict(pre_norm=True, norm_layer=partial(LayerNorm, eps=1e-5))
DINOV3 = dict(
    init_values=1e-5, rope_type="dinov3", rope_temperature=100, rope_rotate_half=True, use_rot_pos_emb=True,
    use_abs_pos_emb=False, num_reg_tokens=4, use_fc_norm=False, norm_layer=partial(LayerNorm, eps=1e-5),
)
MODELS = {
    "dinov2": lambda: VisionTransformer(**SMALL, init_values=1e-5),
    "dinov2_reg4": lambda: VisionTransformer(**SMALL, init_values=1e-5, reg_tokens=4, no_embed_class=True),
    "dinov2_swiglu": lambda: VisionTransformer(
        **SMALL, init_values=1e-5, mlp_ratio=5.5, mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU
    ),
    "dinov3": lambda: Eva(**SMALL, **DINOV3, qkv_bias=False),
    "dinov3_qkvb": lambda: Eva(**SMALL, **DINOV3, qkv_bias=True),
    "vit": lambda: VisionTransformer(**SMALL),
    "clip": lambda: VisionTransformer(**SMALL, **CLIP),
    "clip_quickgelu": lambda: VisionTransformer(**SMALL, **CLIP, act_layer="quick_gelu"),
}
FULL = {"vit_small_patch14_reg4_dinov2": 14, "vit_small_patch16_dinov3": 16}
FULL_BLOCK = 9
GRIDS = ((4, 4), (3, 5))  # rows and columns of patches


def fill(name, shape):
    """Values that depend only on name and index: a hash of both, in [-1, 1)."""
    seed = np.uint32(2166136261)
    with np.errstate(over="ignore"):
        for byte in name.encode():  # FNV-1a
            seed = (seed ^ np.uint32(byte)) * np.uint32(16777619)
        x = np.arange(math.prod(shape), dtype=np.uint32) + seed
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
        x ^= x >> np.uint32(16)
    unit = (x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)
    return torch.from_numpy(unit.reshape(shape))


def weight(name, shape):
    """A parameter of reasonable magnitude: norms and scales about 1, matrices by their inputs."""
    values = fill(name, shape)
    if name.endswith(".gamma") or ("norm" in name and name.endswith(".weight")):
        return 1 + values / 4
    if name.endswith(".weight"):
        return values / 2 ** (math.prod(shape[1:]).bit_length() // 2)
    return values / 4


def tokens(model, image, blocks):
    with torch.no_grad():
        pairs = model.forward_intermediates(
            image, indices=blocks, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
    return [torch.cat((prefix, patches), dim=1).float().contiguous() for patches, prefix in pairs]


def record_small(folder, traces):
    for name, build in MODELS.items():
        torch.manual_seed(1)
        model = build().eval()
        for key, parameter in model.named_parameters():
            centre = 1.0 if ("norm" in key and key.endswith("weight")) or "gamma" in key else 0.0
            spread = 0.25 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
            parameter.data = (centre + spread * torch.randn_like(parameter)).half().float()
        torch.save({key: value.half() for key, value in model.state_dict().items()}, folder / f"{name}.pth")
        model.double()
        for rows, columns in GRIDS:
            key = f"{name}.{4 * rows}.{4 * columns}"
            traces[key] = torch.randn(1, 3, 4 * rows, 4 * columns)
            for block, x in enumerate(tokens(model, traces[key].double(), [0, 1])):
                traces[f"{key}.{block}"] = x


def record_full(traces):
    for name, patch in FULL.items():
        model = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
        for key, parameter in model.named_parameters():
            key = key.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
            parameter.data = weight(key, tuple(parameter.shape))
        model.double()
        for rows, columns in GRIDS:
            image = fill("picture", (1, 3, patch * rows, patch * columns))
            (x,) = tokens(model, image.double(), [FULL_BLOCK])
            traces[f"{name}.{patch * rows}.{patch * columns}.{FULL_BLOCK}"] = x


def record_module(folder):
    """A TorchScript archive of the model dinov2_reg4 above, and its outputs."""
    torch.manual_seed(2)
    model = MODELS["dinov2_reg4"]().eval()
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter) * (parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5)
    model.pretrained_cfg = {
        "architecture": "small_dinov2_reg4", "tag": "test", "mean": (0.5, 0.25, 0.125), "std": (0.5, 1.0, 2.0), "license": "apache-2.0",
    }
    export(model, ["0", "1"], "small_dinov2_reg4", 16, folder / "module.pt", half=True)
    image = torch.randn(2, 3, 16, 16)
    model.double()
    outputs = tokens(model, image.double(), [0, 1])
    save_file({"input": image, "0": outputs[0], "1": outputs[1]}, folder / "module.safetensors")


def record_kinds(path):
    numbers = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    state = OrderedDict(
        f32=numbers, f16=numbers.half(), bf16=numbers.bfloat16(), f64=numbers.double(), i64=numbers.long(),
        transposed=numbers.t(), column=numbers[:, 1], parameter=torch.nn.Parameter(numbers + 1), scalar=torch.tensor(7.0),
        empty=torch.zeros(2, 0), expanded=torch.ones(1, 1).expand(2, 2),
    )
    torch.save({"epoch": 300, "loss": 0.5, "name": "kinds", "done": True, "classes": ["a", None], "model": state}, path)


def main():
    root = Path(__file__).resolve().parent.parent
    folder = root / "model/testdata/families"
    folder.mkdir(parents=True, exist_ok=True)
    traces = {}
    record_small(folder, traces)
    record_full(traces)
    record_module(folder)
    save_file(traces, folder / "families.safetensors", metadata={"timm": timm.__version__, "torch": torch.__version__})
    record_kinds(root / "internal/pytorch/testdata/kinds.pth")


if __name__ == "__main__":
    main()
