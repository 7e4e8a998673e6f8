"""The v2 protocol over gRPC, with kserve's own client."""

import asyncio
import base64

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

from tests.serving.server import running_server


@pytest.fixture(scope="module")
def target(model_dir):
    with running_server("--model-dir", model_dir, "--no-log", "--grpc-port", "0") as server:
        line = next(line for line in server.lines if "gRPC at " in line)
        yield server, line.split("gRPC at ")[1]


def ask(address: str, content: bytes, raw: bool = True, **parameters):
    if raw:
        image = InferInput("image", [1], "BYTES")
        image.set_data_from_numpy(np.array([content], dtype=object), binary_data=True)
    else:
        image = InferInput("image", [1], "BYTES", data=[content])
    request = InferRequest("hakka", [image], request_id="7", parameters=parameters or None)

    async def call():
        async with InferenceGRPCClient(address, timeout=30) as client:
            assert await client.is_model_ready("hakka")
            return await client.infer(request)

    return asyncio.run(call())


@pytest.mark.parametrize("raw", [True, False])
def test_infer(target, photo, raw):
    response = ask(target[1], photo, raw)
    tensors = {output.name: output.as_numpy() for output in response.outputs}
    assert response.id == "7"
    assert tensors["boxes"].tolist() == [[16, 16, 48, 48], [64, 32, 120, 96]]
    assert [bytes(label) for label in tensors["labels"]] == [b"apple", b"banana"]
    assert tensors["class_ids"].tolist() == [0, 1]


def test_parameters(target, photo):
    response = ask(target[1], photo, confidence="0.7", max_detections=5)
    assert response.outputs[0].as_numpy().shape == (1, 4)
    assert response.parameters["width"].int64_param == 128


@pytest.mark.parametrize(
    ("content", "parameters", "part"),
    [
        (b"no image", {}, "must be a whole JPEG, PNG or WebP file"),
        (base64.b64encode(b"text"), {}, "must be a whole JPEG, PNG or WebP file"),
        (b"x", {"confidence": "high"}, "parameters.confidence must be a number from 0 to 1, got 'high'"),
        (b"x", {"classes": "pizza"}, "unknown class 'pizza'"),
    ],
)
def test_refusals_are_invalid_argument_and_the_server_goes_on(target, photo, content, parameters, part):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        ask(target[1], content, **parameters)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert part in error.value.details()
    assert ask(target[1], photo).outputs


def test_rest_is_served_beside_it(target):
    assert httpx.get(f"{target[0].url}/v2/health/ready").json() == {"ready": True}
