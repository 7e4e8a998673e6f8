"""Callers who connect and send little, slowly or nothing, by the hundred: good calls are answered all the while."""

import asyncio
import contextlib
import math
import re
import struct
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from serving.callers import BURST
from serving.peers import Peers, peer_name
from serving.reads import MOST
from serving.sockets import OWN_FILES
from tests.serving.server import running_server

# Far below what a good call waited for when silent ones had turns, and far above what it takes.
SOON = 3
# What a client of HTTP/2 says first.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
MOST_OPEN = 40  # connections a port
SPARE = 10  # files that a server has open now and then
HALF_A_POST = b"POST /v2/models/hakka/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"


@contextlib.contextmanager
def serving(model_dir, *options, python=sys.executable):
    """A server with gRPC: the server, and the address of its gRPC."""
    with running_server("--model-dir", model_dir, "--no-log", "--grpc-port", "0", *options, python=python) as server:
        yield server, next(line for line in server.lines if "gRPC at " in line).split("gRPC at ")[1]
        assert not [line for line in server.lines if "Traceback" in line]


@pytest.fixture(scope="module")
def target(model_dir):
    with serving(model_dir) as made:
        yield made


def infer_request(photo: bytes, size: int = 0) -> pb.ModelInferRequest:
    """A request for one photo, which bytes after its end make larger."""
    content = photo.ljust(size, b"\0")
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    element = struct.pack("<I", len(content)) + content
    return pb.ModelInferRequest(model_name="hakka", inputs=[tensor], raw_input_contents=[element])


def channel(address: str) -> grpc.aio.Channel:
    """A channel with a connection of its own."""
    return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


async def keep_silent(made: grpc.aio.Channel, method: str, begun: asyncio.Event) -> None:
    """Call without a message, again and again."""
    while True:
        call = made.stream_unary(f"/inference.GRPCInferenceService/{method}")(timeout=60)
        with contextlib.suppress(grpc.RpcError):
            await call.wait_for_connection()
            begun.set()
            await call


@contextlib.asynccontextmanager
async def background(*coroutines):
    """The coroutines run during the block."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask(address: str, photo: bytes, times: int) -> None:
    """Good calls, each on a new connection and on a kept one, must be answered soon."""
    request = infer_request(photo)
    async with channel(address) as kept:
        for _ in range(times):
            async with channel(address) as new:
                for stub in map(GRPCInferenceServiceStub, (kept, new)):
                    assert (await stub.ModelReady(pb.ModelReadyRequest(name="hakka"), timeout=SOON)).ready
                    assert (await stub.ModelInfer(request, timeout=SOON)).outputs


def in_a_loop(main):
    return asyncio.run(asyncio.wait_for(main, 60))


@pytest.mark.parametrize(("calls", "connections"), [(4, 4), (30, 30), (MOST + 50, 3)])
def test_silent_calls_do_not_hold_up_good_ones(target, photo, calls, connections):
    async def main():
        async with contextlib.AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(channel(target[1])) for _ in range(connections)]
            begun = [asyncio.Event() for _ in range(calls)]
            methods = ("ModelInfer", "ModelInfer", "ModelReady", "ModelInfer")
            silent = [
                keep_silent(channels[number % connections], methods[number % len(methods)], begun[number])
                for number in range(calls)
            ]
            async with background(*silent):
                await asyncio.gather(*(event.wait() for event in begun))
                await ask(target[1], photo, 5)

    in_a_loop(main())


@contextlib.asynccontextmanager
async def slow_line(address: str, rate: float, most: float = math.inf):
    """The address of a line to the server: ``rate`` bytes a second from each client, and none after ``most`` bytes."""
    host, port = address.split(":")

    async def carry(reader, writer, pace, left):
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while data := await reader.read(16_384):
                if left > 0:
                    writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(pace * len(data))
                    left -= len(data)

    async def connected(reader, writer):
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(reader, back, 1 / rate, most), carry(there, writer, 0, math.inf))

    line = await asyncio.start_server(connected, "127.0.0.1", 0, limit=16_384)
    async with line:
        yield f"127.0.0.1:{line.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("silent", [0, MOST + 50])
def test_slow_phones_come_through_and_hold_nobody_up(target, photo, silent):
    """Also when there are so many silent calls that new ones take the places of others."""
    large = infer_request(photo, 800_000)

    async def phone(address):
        async with channel(address) as made:
            return await GRPCInferenceServiceStub(made).ModelInfer(large, timeout=20)

    async def main():
        async with slow_line(target[1], 500_000) as line, channel(target[1]) as crowd:
            begun = [asyncio.Event() for _ in range(silent)]
            async with background(*(keep_silent(crowd, "ModelInfer", event) for event in begun)):
                await asyncio.gather(*(event.wait() for event in begun))
                async with background(*(phone(line) for _ in range(10))) as phones:
                    while not all(phone.done() for phone in phones):
                        await ask(target[1], photo, 1)
                    assert all(answer.outputs for answer in await asyncio.gather(*phones))

    in_a_loop(main())


def peak_mib(server) -> float:
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())[1]) / 1024


def test_messages_that_never_end_are_ended_when_they_take_the_memory(model_dir, photo):
    async def main(server, address):
        large, before = infer_request(photo, 7_900_000), peak_mib(server)

        async def send(line):
            async with channel(line) as made:
                await GRPCInferenceServiceStub(made).ModelInfer(large, timeout=20)

        async with (
            slow_line(address, math.inf, 7_500_000) as line,
            background(*[send(line) for _ in range(30)]) as stalled,
        ):
            done, pending = await asyncio.wait(stalled, timeout=2)
            await ask(address, photo, 1)
            assert 0 < len(pending) < 10  # there is room for half of eight, and what came before the first look
            assert {task.exception().code() for task in done} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert peak_mib(server) - before < 120  # all of them are 225

    with serving(model_dir, "--max-body-mib", "8") as (server, address):
        in_a_loop(main(server, address))


def open_files(server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


async def flood(address: str, said: bytes, count: int) -> None:
    """So many connections that say this and no more, until the server ends them."""
    host, port = address.split(":")

    async def connect():
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(said)
            while await reader.read(65_536):
                pass
            writer.close()

    async with background(*(connect() for _ in range(count))) as tasks:
        await asyncio.gather(*tasks)


async def survive_floods(server, address: str, photo: bytes) -> None:
    """Good calls are answered on kept and on new connections; few are open, and in the end hardly any."""
    rest, request = server.url.removeprefix("http://"), infer_request(photo)
    before = open_files(server)
    async with channel(address) as kept, httpx.AsyncClient(base_url=server.url, timeout=SOON) as client:
        stub = GRPCInferenceServiceStub(kept)
        await stub.ModelInfer(request, timeout=SOON)
        await client.get("/v2/health/ready")
        floods = [flood(rest, said, 5 * MOST_OPEN) for said in (b"", HALF_A_POST)]
        floods += [flood(address, said, 5 * MOST_OPEN) for said in (b"", PREFACE)]
        async with background(*floods):
            for _ in range(10):
                assert (await stub.ModelInfer(request, timeout=SOON)).outputs
                assert (await client.get("/v2/health/ready")).status_code == 200
                assert open_files(server) <= before + (1 + BURST) * MOST_OPEN + SPARE
                async with channel(address) as new:
                    # One that comes while all places are taken is refused, and its library tries again.
                    asked = GRPCInferenceServiceStub(new).ServerReady(
                        pb.ServerReadyRequest(), timeout=10, wait_for_ready=True
                    )
                    assert (await asked).ready
                async with httpx.AsyncClient(base_url=server.url, timeout=SOON) as new:
                    assert (await new.get("/v2/health/ready")).status_code == 200
    while open_files(server) > before + SPARE:
        await asyncio.sleep(0.01)


def test_connections_of_a_flood_end_each_other_and_no_good_one(model_dir, photo):
    with serving(model_dir, "--max-connections", str(MOST_OPEN)) as (server, address):
        in_a_loop(survive_floods(server, address, photo))


def test_there_are_no_more_connections_than_files_may_be_open(tmp_path, model_dir, photo):
    limited = tmp_path / "python"
    files = OWN_FILES + (1 + BURST) * MOST_OPEN
    limited.write_text(f'#!/bin/sh\nulimit -n {files} && exec "{sys.executable}" "$@"\n')
    limited.chmod(0o755)
    with serving(model_dir, python=limited) as (server, address):
        assert any(f"At most {MOST_OPEN} connections a port" in line for line in server.lines)
        in_a_loop(survive_floods(server, address, photo))


def test_an_idle_client_keeps_its_connection_and_a_silent_call_ends(model_dir):
    async def main(address):
        async with channel(address) as kept:
            stub = GRPCInferenceServiceStub(kept)
            assert (await stub.ServerLive(pb.ServerLiveRequest(), timeout=SOON)).live
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(kept.wait_for_state_change(grpc.ChannelConnectivity.READY), 2)
            with pytest.raises(grpc.RpcError, match="a request must be sent within 1 s") as error:
                await kept.stream_unary("/inference.GRPCInferenceService/ModelInfer")(timeout=20)
            assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    with serving(model_dir, "--body-seconds", "1") as (_, address):
        in_a_loop(main(address))


def test_compressed_messages_are_refused(target, photo):
    """What comes in is counted, and what it unpacks to may be a thousand times as much."""
    request = infer_request(photo)
    with grpc.insecure_channel(target[1]) as made:
        stub = GRPCInferenceServiceStub(made)
        with pytest.raises(grpc.RpcError, match="gzip") as error:
            stub.ModelInfer(request, timeout=20, compression=grpc.Compression.Gzip)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("bound", "dialled"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::1]", "[::1]")]
)
def test_a_call_is_of_the_connection_that_the_kernel_knows(bound, dialled):
    """By the name that gRPC gives its peer, whatever the address that the server listens on."""

    async def main():
        come = asyncio.Queue()

        async def wait(_, context):
            come.put_nowait(peer_name(context.peer()))
            await asyncio.Event().wait()

        server = grpc.aio.server()
        handlers = {"Wait": grpc.stream_unary_rpc_method_handler(wait)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
        try:
            port = server.add_insecure_port(f"{bound}:0")
        except RuntimeError:
            pytest.skip(f"this machine has no {bound}")
        await server.start()
        async with channel(f"{dialled}:{port}") as made:
            call = made.stream_unary("/test/Wait")(timeout=20)
            await call.wait_for_connection()
            peer, peers = await come.get(), Peers(port)
            assert peers.look() == [peer]
            before = peers.received(peer)
            await call.write(bytes(10_000))
            while peers.received(peer) < before + 10_000:
                await asyncio.sleep(0.01)
            peers.hang_up(peer)
            with pytest.raises(grpc.RpcError) as error:
                await call
            assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        await server.stop(None)
        assert peers.look() == []
        assert peers.received(peer) is None

    in_a_loop(main())
