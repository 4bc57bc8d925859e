"""The service that bench_serve.py compares with: FastAPI on uvicorn, with an exported model in ONNX Runtime or the same
network in eager PyTorch. An object a request, a part of the form a camera. Images are decoded by Pillow in the threads of
the server, and one object at a time goes through the model, which has all cores.

    APP_MODEL=model.onnx uvicorn --app-dir third_party bench_serve_app:app
    APP_TORCH=s224 APP_MODEL=model.onnx uvicorn …
"""

import io
import os
import threading

import numpy as np
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

import exported

THREADS = int(os.environ.get("APP_THREADS", "2"))
model = exported.open_model(os.environ["APP_MODEL"], THREADS)
turn = threading.Lock()
app = FastAPI()

if size := os.environ.get("APP_TORCH"):
    import torch

    import bench_torch

    torch.set_num_threads(THREADS)
    network = bench_torch.Model(size, model.about["input"]["views"], False).eval()
    mean, std = (torch.tensor(model.about["input"][key]).reshape(3, 1, 1) for key in ("mean", "std"))
    top, side = model.about["map"]["top"], bench_torch.SIZES[size][-1]

    @torch.no_grad()
    def run(inputs):
        x = (torch.from_numpy(inputs["images"][0]).float() / 255 - mean) / std
        maps = bench_torch.maps_of(*network(x), side)
        scores = maps.flatten(1).topk(top).values.mean(1)
        return {"score": scores[None].numpy(), "object_score": scores.max()[None].numpy(), "map": maps.numpy()}
else:
    run = model.runtime.run


def judge(name, files):
    inputs = model.inputs(name, {camera: io.BytesIO(data) for camera, data in files.items()})
    with turn:
        out = run(inputs)
    scores = [float(v) for v in out["score"][0]]
    answer = {"score": float(out["object_score"][0]), "images": scores}
    if "object_defective" in out:
        answer["decision"] = "defective" if bool(out["object_defective"][0]) else "good"
    return answer


@app.post("/v1/inspect")
async def inspect(request: Request):
    form = await request.form()
    files = {int(key): await value.read() for key, value in form.items() if key.isdigit()}
    return await run_in_threadpool(judge, form.get("class"), files)


@app.get("/v2/health/ready")
def ready():
    judge(None, {})
    return {}
