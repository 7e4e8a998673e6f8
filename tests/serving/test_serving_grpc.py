"""The v2 protocol over gRPC, with kserve's own client."""

import asyncio
import base64
import struct

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from tests.serving.server import running_server
from tests.serving.tiny_model import AS_SLOW_AS_SAID, build_model_folder


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


def test_beyond_the_queue_calls_are_refused_at_once_and_say_when_to_come_again(tmp_path, photo):
    slow = build_model_folder(tmp_path / "slow", work=8)
    options = ("--no-log", "--threads", "1", "--queue", "1", "--grpc-port", "0", *AS_SLOW_AS_SAID)
    with running_server("--model-dir", slow, *options) as server:
        address = next(line for line in server.lines if "gRPC at " in line).split("gRPC at ")[1]
        element = struct.pack("<I", len(photo)) + photo
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
        request = pb.ModelInferRequest(model_name="hakka", inputs=[tensor], raw_input_contents=[element])

        async def main():
            async with grpc.aio.insecure_channel(address) as channel:
                stub = GRPCInferenceServiceStub(channel)
                calls = [stub.ModelInfer(request, timeout=60) for _ in range(8)]
                late = stub.ModelInfer(request, timeout=0.01)
                answers = await asyncio.gather(*calls, late, return_exceptions=True)
                again = await stub.ModelInfer(request, timeout=60)
                return answers, again

        answers, again = asyncio.run(main())
    *answers, late = answers
    refused = [error for error in answers if isinstance(error, grpc.aio.AioRpcError)]
    assert 8 > len(refused) >= 1
    for error in refused:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the queue is full" in error.details()
        assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) > 0
    assert late.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert again.outputs


def test_a_call_to_load_or_unload_is_refused(target):
    with grpc.insecure_channel(target[1]) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for call, message in (
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="hakka")),
            (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name="hakka")),
        ):
            with pytest.raises(grpc.RpcError, match="the channel decides"):
                call(message, timeout=20)
        assert stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=20).extensions == ["binary_tensor_data"]
