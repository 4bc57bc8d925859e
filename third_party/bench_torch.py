"""The same model in eager PyTorch, to compare speed with: a training step and
inference on random images and weights.

    python3 third_party/bench_torch.py --size s224 --what train --attention vectorised

Prints one JSON line: images per second (median over steps), seconds of each step,
peak memory. Attention across views is either vectorised over pairs of views or
the published loop over them.
"""

import argparse
import json
import math
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {  # channels, blocks, heads, registers, layers, image size in pixels
    "s224": (384, 12, 6, 0, range(2, 10), 224),
    "s392": (384, 12, 6, 0, range(2, 10), 392),
    "b392": (768, 12, 12, 4, range(2, 10), 392),
}


class MLP(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class EncoderBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.qkv, self.proj, self.mlp = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), MLP(dim)
        self.ls1, self.ls2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(b, n, c)
        x = x + self.ls1 * self.proj(y)
        return x + self.ls2 * self.mlp(self.norm2(x))


class Attention(nn.Module):
    def __init__(self, dim, heads, views, looped):
        super().__init__()
        self.heads, self.views, self.looped = heads, views, looped
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.view_logits = nn.Parameter(torch.full((views - 1,), 0.25))
        self.gate = nn.Parameter(torch.tensor(0.5))

    def split(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return F.elu(q) + 1, F.elu(k) + 1, v

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.split(x)
        y = (q @ (k.transpose(-2, -1) @ v)) / (q @ k.sum(-2).unsqueeze(-1) + 1e-6)
        y = y.transpose(1, 2).reshape(b, n, c)
        f = self.loop(y) if self.looped else self.pairs(y)
        gate = torch.sigmoid(self.gate)
        return self.proj(gate * y + (1 - gate) * f)

    def keep(self, z):
        index = z.detach().topk(int(0.3 * z.shape[-1]), dim=-1, largest=False).indices
        return torch.zeros_like(z).scatter_(-1, index, 1.0)

    def grouped(self, y):
        b, n, c = y.shape
        shape = (b // self.views, self.views, self.heads, n, c // self.heads)
        return [t.reshape(shape) for t in self.split(y)]

    def pairs(self, y):
        b, n, c = y.shape
        q, k, v = self.grouped(y)  # [S, V, H, N, D]
        ksum, kv = k.sum(-2), k.transpose(-2, -1) @ v
        z = torch.einsum("sjhnd,sihd->sjihn", q, ksum)  # [S, Vj, Vi, H, N]
        weight = torch.softmax(self.view_logits, 0)
        others = [[i for i in range(self.views) if i != j] for j in range(self.views)]
        index = torch.tensor(others, device=y.device)
        rows = torch.arange(self.views, device=y.device)[:, None]
        z = z[:, rows, index]  # [S, V, V-1, H, N]
        scale = self.keep(z) / (z + 1e-6) * weight[:, None, None]
        u = torch.einsum("sjhnd,sjmhde->sjmhne", q, kv[:, index])
        f = (u * scale.unsqueeze(-1)).sum(2)  # [S, V, H, N, D]
        return y + f.transpose(2, 3).reshape(b, n, c)

    def loop(self, y):
        b, n, c = y.shape
        q, k, v = self.grouped(y)
        weight = torch.softmax(self.view_logits, 0)
        out = []
        for j in range(self.views):
            total = 0
            for m, i in enumerate(i for i in range(self.views) if i != j):
                z = (q[:, j] * k[:, i].sum(-2, keepdim=True)).sum(-1)  # [S, H, N]
                u = q[:, j] @ (k[:, i].transpose(-2, -1) @ v[:, i]) / (z + 1e-6).unsqueeze(-1)
                u = u * self.keep(z).unsqueeze(-1)
                r = y.reshape(b // self.views, self.views, n, c)[:, j] + u.transpose(1, 2).reshape(-1, n, c)
                total = total + weight[m] * r
            out.append(total)
        return torch.stack(out, 1).reshape(b, n, c)


class DecoderBlock(nn.Module):
    def __init__(self, dim, heads, views, looped):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-8), nn.LayerNorm(dim, 1e-8)
        self.attn, self.mlp = Attention(dim, heads, views, looped), MLP(dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Model(nn.Module):
    def __init__(self, size, views, looped):
        super().__init__()
        dim, _, heads, registers, layers, side = SIZES[size]
        self.layers, self.prefix = list(layers), 1 + registers
        self.embed = nn.Conv2d(3, dim, 14, 14)
        self.tokens = nn.Parameter(torch.randn(1, self.prefix, dim))
        self.position = nn.Parameter(0.02 * torch.randn(1, (side // 14) ** 2, dim))
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads) for _ in range(max(layers) + 1))
        self.encoder = nn.ModuleList([self.embed, self.blocks])
        for p in [*self.encoder.parameters(), self.tokens, self.position]:
            p.requires_grad_(False)
        self.bottleneck = MLP(dim)
        self.decoder = nn.ModuleList(DecoderBlock(dim, heads, views, looped) for _ in self.layers)

    @torch.no_grad()
    def encode(self, images):
        x = self.embed(images).flatten(2).transpose(1, 2) + self.position
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1)
        outputs = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.layers:
                outputs.append(x)
        return outputs

    def fuse(self, outputs):
        half = len(outputs) // 2
        return [torch.stack(part).mean(0)[:, self.prefix :] for part in (outputs[:half], outputs[half:])]

    def forward(self, images):
        encoded = self.encode(images)
        x = torch.stack(encoded).mean(0)
        drop = 0.4 if self.training else 0.0
        x = F.dropout(F.gelu(self.bottleneck.fc1(F.dropout(x, drop))), drop)
        x = F.dropout(self.bottleneck.fc2(x), drop)
        if self.training:
            x = x + torch.randn_like(x) * (x.norm(dim=-1, keepdim=True) / x.shape[-1]) * 2.0
        outputs = []
        for block in self.decoder:
            x = block(x)
            outputs.append(x)
        return self.fuse(encoded), self.fuse(outputs[::-1])


class ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None


def loss_of(targets, reconstructions, easy=0.8):
    total_global, total_regional = 0, 0
    for e, d in zip(targets, reconstructions):
        with torch.no_grad():
            c = 1 - F.cosine_similarity(e, d, dim=-1)
            tau = torch.topk(c.flatten(), int(c.numel() * (1 - easy))).values[-1]
            factor = torch.where(c < tau, 0.1, 1.0).unsqueeze(-1)
            focus = (torch.minimum(c, tau) / tau) ** 2
        d = ScaledGradient.apply(d, factor)
        total_global = total_global + (1 - F.cosine_similarity(e.flatten(1), d.flatten(1), dim=-1)).mean()
        total_regional = total_regional + ((1 - F.cosine_similarity(e, d, dim=-1)) * focus).mean()
    return 0.5 * total_global / len(targets) + 0.5 * total_regional


class StableAdamW(torch.optim.Optimizer):
    """A plain loop over parameters, as in research scripts; or, with foreach, operations on lists of all of them."""

    def __init__(self, params, foreach=False):
        super().__init__(params, dict(lr=2e-3))
        self.foreach = foreach

    @torch.no_grad()
    def step(self):
        for group in self.param_groups if self.foreach else []:
            self.step_lists([p for p in group["params"] if p.grad is not None], group["lr"])
        if self.foreach:
            return
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if not s:
                    s["t"], s["m"], s["v"], s["x"] = 0, torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p)
                s["t"] += 1
                g, lr = p.grad, group["lr"]
                p.mul_(1 - lr * 1e-4)
                s["m"].mul_(0.9).add_(g, alpha=0.1)
                s["v"].mul_(0.999).addcmul_(g, g, value=0.001)
                torch.maximum(s["x"], s["v"], out=s["x"])
                d = (s["x"].sqrt() / math.sqrt(1 - 0.999 ** s["t"])).add_(1e-10)
                rms = (g / d).pow(2).mean().sqrt().clamp_(min=1.0)
                p.sub_(s["m"] / d * (lr / (1 - 0.9 ** s["t"]) / rms))

    def step_lists(self, params, lr):
        grads, s = [p.grad for p in params], self.state["lists"]
        if not s:
            s["t"] = 0
            s["m"], s["v"], s["x"] = ([torch.zeros_like(p) for p in params] for _ in range(3))
            s["root"] = torch.tensor([math.sqrt(p.numel()) for p in params], device=params[0].device)
        s["t"] += 1
        torch._foreach_mul_(params, 1 - lr * 1e-4)
        torch._foreach_lerp_(s["m"], grads, 0.1)
        torch._foreach_mul_(s["v"], 0.999)
        torch._foreach_addcmul_(s["v"], grads, grads, value=0.001)
        torch._foreach_maximum_(s["x"], s["v"])
        d = torch._foreach_sqrt(s["x"])
        torch._foreach_mul_(d, 1 / math.sqrt(1 - 0.999 ** s["t"]))
        torch._foreach_add_(d, 1e-10)
        rms = (torch.stack(torch._foreach_norm(torch._foreach_div(grads, d))) / s["root"]).clamp_(min=1.0)
        step = torch._foreach_div(s["m"], d)
        torch._foreach_mul_(step, list((lr / (1 - 0.9 ** s["t"]) / rms).unbind()))
        torch._foreach_sub_(params, step)


def maps_of(targets, reconstructions, side):
    full = []
    for e, d in zip(targets, reconstructions):
        c = 1 - F.cosine_similarity(e, d, dim=-1)
        g = math.isqrt(c.shape[1])
        full.append(F.interpolate(c.reshape(-1, 1, g, g), size=(side, side), mode="bilinear", align_corners=True))
    x = F.interpolate(torch.stack(full).mean(0), size=(256, 256), mode="bilinear", align_corners=False)
    line = torch.exp(-torch.arange(-2.0, 3.0) ** 2 / 32)
    kernel = (line[:, None] * line / line.sum() ** 2).to(x.device)[None, None]
    return F.conv2d(x.float(), kernel, padding=2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="s224")
    parser.add_argument("--what", choices=["train", "infer"], default="train")
    parser.add_argument("--attention", choices=["vectorised", "looped"], default="vectorised")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--views", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--compile", nargs="?", const="max-autotune", metavar="MODE", help="torch.compile, and an optimiser on lists")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = Model(a.size, a.views, a.attention == "looped").to(a.device)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = StableAdamW(trainable, foreach=bool(a.compile))
    loss_from = lambda images: loss_of(*model(images))
    maps_from = lambda images: maps_of(*model(images), SIZES[a.size][-1])
    if a.compile:
        loss_from, maps_from = (torch.compile(f, mode=a.compile) for f in (loss_from, maps_from))
    side = SIZES[a.size][-1]
    images = torch.randn(a.objects * a.views, 3, side, side, device=a.device)
    kind = torch.device(a.device).type

    def step():
        with torch.autocast(kind, torch.bfloat16, enabled=a.precision == "bf16"):
            if a.what == "infer":
                with torch.no_grad():
                    return maps_from(images).cpu()
            loss = loss_from(images)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 0.1)
        optimizer.step()
        return loss

    model.train(a.what == "train")
    seconds = []
    warmup = 5 if a.compile else 2  # compilation, and the capture of graphs
    for i in range(a.steps + warmup):
        start = time.perf_counter()
        step()
        if kind == "cuda":
            torch.cuda.synchronize()
        if i >= warmup:
            seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if kind == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({
        "program": "pytorch " + torch.__version__, "size": a.size, "what": a.what, "attention": a.attention,
        "precision": a.precision, "compiled": a.compile, "device": a.device, "threads": torch.get_num_threads(), "images": len(images),
        "images_per_second": round(len(images) / statistics.median(seconds), 3),
        "seconds": [round(s, 4) for s in seconds], "peak_bytes": peak,
    }))


if __name__ == "__main__":
    main()
