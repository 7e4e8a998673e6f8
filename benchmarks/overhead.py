"""KServe and our protocols without a model beside bare FastAPI (and gRPC): ``python benchmarks/overhead.py``.

The servers are those of ``empty.py``, the requests hold photos of 20 kB. CPU ms is what a request costs the server.
"""

import asyncio
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.load import Load, closed_loop, v1_request, v2_json_request, v2_request  # noqa: E402
from benchmarks.photos import read_photos  # noqa: E402
from benchmarks.processes import cpu_seconds, end_on_sigterm, free_port, server  # noqa: E402
from serving.framework import pb  # noqa: E402
from tests.serving.tiny_model import build_model_folder  # noqa: E402

CALLERS = 8
REST = {"v1 JSON": v1_request, "v2 JSON": v2_json_request, "v2 binary": v2_request}
METHOD = "/inference.GRPCInferenceService/ModelInfer"

Row = tuple[float, float, float]  # requests a second, the server's CPU ms a request, p50 in ms


def main() -> None:
    """Measure and print."""
    end_on_sigterm()
    print_overhead(read_photos(ROOT / "sample" / "images"), 4.0, 5)


def print_overhead(photos: list[bytes], seconds: float, repeats: int) -> None:
    """Requests a second with ``CALLERS`` callers, in turns; medians."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        model = build_model_folder(Path(scratch) / "model")
        servers = {"endpoint": stack.enter_context(hakka(model)), "bare": stack.enter_context(bare())}
        runs = {
            (protocol, name): by_protocol(protocol, servers[name], photos)
            for protocol in (*REST, "gRPC")
            for name in servers
        }
        rows: dict[tuple[str, str], list[Row]] = {key: [] for key in runs}
        for turn in range(repeats + 1):
            for key, run in runs.items():
                row = run(seconds if turn else 0.5)
                rows[key] += [row] if turn else []
    print(f"\n{'no model':<10} requests/s: ours    bare   server CPU ms: ours   bare   more   p50 ms: ours   bare")
    for protocol in (*REST, "gRPC"):
        ours, base = (tuple(map(statistics.median, zip(*rows[protocol, name], strict=True))) for name in servers)
        shown = f"{ours[0]:16.0f} {base[0]:7.0f} {ours[1]:21.3f} {base[1]:6.3f} {ours[1] - base[1]:6.3f}"
        print(f"{protocol:<10} {shown} {ours[2]:14.2f} {base[2]:6.2f}", flush=True)


@contextmanager
def hakka(model: Path) -> Iterator[tuple[int, int, int]]:
    """``python -m serving`` over nothing: its process, port and gRPC port."""
    port, beside = free_port(), free_port()
    arguments = ("--model-dir", model, "--no-log", "--port", port, "--grpc-port", beside)
    with server([sys.executable, "-m", "benchmarks.empty", "hakka", *arguments], port) as process:
        yield process, port, beside


@contextmanager
def bare() -> Iterator[tuple[int, int, int]]:
    """FastAPI and gRPC alone: process and ports."""
    port, beside = free_port(), free_port()
    with server([sys.executable, "-m", "benchmarks.empty", "bare", port, beside], port) as process:
        yield process, port, beside


def by_protocol(protocol: str, served: tuple[int, int, int], photos: list[bytes]) -> Callable[[float], Row]:
    """What asks a server for some seconds."""
    process, port, beside = served
    url = f"http://127.0.0.1:{port}"
    requests = [REST[protocol](url, photo) for photo in photos] if protocol in REST else list(map(message, photos))

    def run(seconds: float) -> Row:
        cpu = cpu_seconds(process)
        load = (
            closed_loop(url, requests, CALLERS, seconds) if protocol in REST else grpc_loop(beside, requests, seconds)
        )
        if not load.times():
            raise SystemExit(f"{protocol}: no request was answered with 200; answers: {load.answers[:3]}")
        return load.rate(), (cpu_seconds(process) - cpu) * 1000 / len(load.times()), load.at(0.5)

    return run


def message(photo: bytes) -> bytes:
    """The bytes of a gRPC request for one photo."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    content = struct.pack("<I", len(photo)) + photo
    request = pb.ModelInferRequest(model_name="hakka", inputs=[tensor], raw_input_contents=[content])
    return request.SerializeToString()


def grpc_loop(port: int, requests: list[bytes], seconds: float) -> Load:
    """As ``load.closed_loop``, over one channel, with messages that are bytes on this side."""

    async def main() -> Load:
        load, start = Load(), time.perf_counter()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            ask = channel.unary_unary(METHOD)

            async def call(caller: int) -> None:
                turn = caller
                while time.perf_counter() - start < seconds:
                    asked = time.perf_counter()
                    await ask(requests[turn % len(requests)], wait_for_ready=True)
                    load.answers.append((200, time.perf_counter() - asked))
                    turn += CALLERS

            await asyncio.gather(*map(call, range(CALLERS)))
        load.seconds = time.perf_counter() - start
        return load

    return asyncio.run(main())


if __name__ == "__main__":
    main()
