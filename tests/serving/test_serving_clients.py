"""Clients that we did not write: NVIDIA's for HTTP and gRPC, and KServe's own."""

import asyncio
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

from tests.serving.server import ROOT, running_server

BOXES = [[16, 16, 48, 48], [64, 32, 120, 96]]
FOUND = {"boxes": BOXES, "scores": [pytest.approx(0.9), pytest.approx(0.6)], "class_ids": [0, 1]}
FOUND["labels"] = ["apple", "banana"]


@pytest.fixture(scope="module")
def addresses(model_dir):
    """Of REST and of gRPC."""
    with running_server("--model-dir", model_dir, "--no-log", "--grpc-port", "0") as server:
        line = next(line for line in server.lines if "gRPC at " in line)
        yield {"http": server.url.removeprefix("http://"), "grpc": line.split("gRPC at ")[1]}


@pytest.mark.skipif(importlib.util.find_spec("tritonclient") is None, reason="tritonclient is not installed")
@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_triton_s_client(addresses, photo, tmp_path, transport):
    (tmp_path / "photo.jpg").write_bytes(photo)
    command = [sys.executable, "-m", "tests.serving.triton_client", transport, addresses[transport]]
    done = subprocess.run([*command, tmp_path / "photo.jpg"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ready"]
    assert len(said["versions"]) == 1
    for answer in [*said["file"], said["all outputs"], *said["pixels"], said["of this version"]]:
        assert answer == FOUND
    assert said["sure"]["labels"] == ["apple"]
    assert said["several"]["counts"] == [2, 2, 2]
    assert said["several"]["boxes"] == BOXES * 3
    assert said["several"]["sizes"] == [[128, 128]] * 3
    assert len(set(said["several"]["prediction_ids"])) == 3
    codes = {"http": ["400", "404", "400"], "grpc": [f"StatusCode.{c}" for c in ("INVALID_ARGUMENT", "NOT_FOUND")]}
    sentences = [
        "must be a whole JPEG, PNG or WebP file",
        "version zz of hakka is not served here",
        "parameters.confidence must be a number from 0 to 1, got 7",
    ]
    wanted = [*codes[transport], codes[transport][0]][:3]
    for (status, sentence), code, part in zip(said["errors"].values(), wanted, sentences, strict=True):
        assert status == code
        assert part in sentence


def kserve_image(values, kind, shape, binary):
    image = InferInput("image", shape, kind)
    image.set_data_from_numpy(values, binary_data=binary)
    return image


@pytest.mark.parametrize("binary_output", [False, True])
@pytest.mark.parametrize("form", ["file", "pixels", "pixels in JSON", "several"])
def test_kserve_s_rest_client(addresses, photo, form, binary_output):
    image = {
        "file": lambda: kserve_image(np.array([photo], dtype=object), "BYTES", [1], True),
        "pixels": lambda: kserve_image(np.zeros((128, 128, 3), np.uint8), "UINT8", [128, 128, 3], True),
        "pixels in JSON": lambda: kserve_image(np.zeros((1, 128, 128, 3), np.uint8), "UINT8", [1, 128, 128, 3], False),
        "several": lambda: kserve_image(np.array([photo] * 2, dtype=object), "BYTES", [2], True),
    }[form]()
    request = InferRequest("hakka", [image], parameters={"binary_data_output": binary_output, "confidence": 0.7})
    url = f"http://{addresses['http']}"

    async def call():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "hakka")
        return await client.infer(url, request, model_name="hakka")

    response = asyncio.run(call())
    tensors = {output.name: output.as_numpy() for output in response.outputs}
    photos = 2 if form == "several" else 1
    assert tensors["boxes"].tolist() == BOXES[:1] * photos
    assert tensors["labels"].tolist() == ["apple"] * photos
    assert response.parameters["model_version"]
    if photos == 2:
        assert tensors["counts"].tolist() == [1, 1]


def test_kserve_s_rest_client_of_v1(addresses, photo_b64):
    url = f"http://{addresses['http']}"

    async def call():
        client = InferenceRESTClient(RESTConfig(protocol="v1"))
        return await client.infer(url, {"instances": [{"image": {"b64": photo_b64}}]}, model_name="hakka")

    [prediction] = asyncio.run(call())["predictions"]
    assert [found["name"] for found in prediction["detections"]] == ["apple", "banana"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("form", ["file", "pixels"])
def test_kserve_s_grpc_client(addresses, photo, form, binary):
    image = {
        "file": lambda: kserve_image(np.array([photo], dtype=object), "BYTES", [1], True),
        "pixels": lambda: kserve_image(np.zeros((128, 128, 3), np.uint8), "UINT8", [128, 128, 3], binary),
    }[form]()

    async def call():
        async with InferenceGRPCClient(addresses["grpc"], timeout=30) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("hakka")
            return await client.infer(InferRequest("hakka", [image], parameters={"confidence": "0.7"}))

    response = asyncio.run(call())
    tensors = {output.name: output.as_numpy() for output in response.outputs}
    assert tensors["boxes"].tolist() == BOXES[:1]
