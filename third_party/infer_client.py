#!/usr/bin/env python3
"""Judges images with Triton's client for the Open Inference Protocol, for serve/api/python_test.go.

    python3 third_party/infer_client.py HOST:PORT MODEL CLASS IMAGE...

Prints JSON: what the server and the model say of themselves, and the outputs of one
object whose cameras saw the images, which are PNG files of one size, given in four ways:
pixels or files, in JSON or in bytes.
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton
from PIL import Image
from tritonclient.utils import InferenceServerException


def give(name, array, datatype, binary):
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def outputs(result, names):
    found = {}
    for name in names:
        value = result.as_numpy(name)
        found[name] = {"shape": list(value.shape), "values": [v.decode() if isinstance(v, bytes) else v for v in value.ravel().tolist()]}
    return found


def main():
    address, model, kind, *paths = sys.argv[1:]
    client = triton.InferenceServerClient(address, connection_timeout=60, network_timeout=60)
    about = client.get_model_metadata(model)
    names = [o["name"] for o in about["outputs"]]
    pixels = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths])[None]
    encoded = [Path(p).read_bytes() for p in paths]
    files = np.array([encoded], dtype=object)
    texts = np.array([[base64.b64encode(f) for f in encoded]], dtype=object)
    of_class = np.array([kind.encode()], dtype=object)
    found = {}
    for way, tensor in {
        "pixels in JSON": give("images", pixels, "UINT8", False),
        "pixels in bytes": give("images", pixels, "UINT8", True),
        "files in JSON": give("files", texts, "BYTES", False),
        "files in bytes": give("files", files, "BYTES", True),
    }.items():
        binary = way.endswith("bytes")
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
        result = client.infer(model, [tensor, give("class", of_class, "BYTES", binary)], outputs=wanted, request_id=way)
        found[way] = outputs(result, names)
        assert result.get_response()["id"] == way
    # without a list of outputs, all but the maps are given, in bytes
    result = client.infer(model, [give("images", pixels, "UINT8", True)], parameters={"class": kind})
    found["by default"] = outputs(result, [n for n in names if n != "map"])
    assert result.as_numpy("map") is None
    try:
        client.infer(model, [give("images", pixels[..., :1].copy(), "UINT8", True)])
        refused = ""
    except InferenceServerException as e:
        refused = f"{e.status()}: {e.message()}"
    print(json.dumps({
        "live": client.is_server_live(), "ready": client.is_server_ready(), "model_ready": client.is_model_ready(model),
        "other_ready": client.is_model_ready("other"), "server": client.get_server_metadata(), "model": about, "ways": found,
        "refused": refused,
    }))


main()
