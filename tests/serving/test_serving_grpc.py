"""The v2 protocol over gRPC, with kserve's own client."""

import asyncio
import base64
import contextlib
import socket
import struct
from pathlib import Path

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


def test_silent_connections_are_bounded_and_do_not_keep_others_out_for_long(model_dir):
    options = ("--no-log", "--grpc-port", "0", "--max-connections", "20", "--body-seconds", "1")
    with running_server("--model-dir", model_dir, *options) as server:
        address = next(line for line in server.lines if "gRPC at " in line).split("gRPC at ")[1]
        host, port = address.split(":")
        opened = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        silent = [socket.create_connection((host, int(port)), timeout=30) for _ in range(200)]
        try:
            for number, connection in enumerate(silent):
                if number % 2:
                    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            with grpc.insecure_channel(address) as channel:
                stub = GRPCInferenceServiceStub(channel)
                assert stub.ServerLive(pb.ServerLiveRequest(), timeout=20, wait_for_ready=True).live
                assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) <= opened + 20
        finally:
            for connection in silent:
                connection.close()


@pytest.mark.parametrize("connections", ["one for all", "one each"])
def test_good_calls_are_answered_though_silent_ones_are_kept_up(model_dir, photo, connections):
    """Each of them would wait for seconds if those that send nothing had turns as long as those that send a photo."""
    element = struct.pack("<I", len(photo)) + photo
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    request = pb.ModelInferRequest(model_name="hakka", inputs=[tensor], raw_input_contents=[element])

    async def nothing():
        await asyncio.Event().wait()
        yield b""

    async def keep_silent(channel, method, ended):
        while True:
            with contextlib.suppress(grpc.RpcError):
                await channel.stream_unary(f"/inference.GRPCInferenceService/{method}")(nothing(), timeout=60)
            ended.set()

    def connect(address):
        return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])

    async def main(address):
        ended = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            methods = ["ModelInfer", "ModelInfer", "ModelReady"] * 10
            count = 1 if connections == "one for all" else len(methods)
            channels = [await stack.enter_async_context(connect(address)) for _ in range(count)]
            silent = [
                asyncio.create_task(keep_silent(channels[number % count], method, ended))
                for number, method in enumerate(methods)
            ]
            stub = GRPCInferenceServiceStub(await stack.enter_async_context(connect(address)))
            await ended.wait()  # all turns are taken, and others wait
            for _ in range(10):
                assert (await stub.ModelReady(pb.ModelReadyRequest(name="hakka"), timeout=20)).ready
                assert (await stub.ModelInfer(request, timeout=20)).outputs
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)

    with running_server("--model-dir", model_dir, "--no-log", "--grpc-port", "0") as server:
        address = next(line for line in server.lines if "gRPC at " in line).split("gRPC at ")[1]
        asyncio.run(asyncio.wait_for(main(address), 30))
        assert not [line for line in server.lines if "Traceback" in line]
