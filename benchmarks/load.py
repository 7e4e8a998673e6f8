"""A cheap HTTP load generator: prebuilt requests over kept connections, an ``asyncio.Protocol`` a connection.

It runs on the machine that it measures, so what it costs counts: about 40 µs a request.
"""

import asyncio
import base64
import itertools
import random
import struct
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop

PREDICT = "/v1/models/hakka:predict"
INFER = "/v2/models/hakka/infer"
HUNG_SECONDS = 60.0  # after the last request: what is not answered by then counts as lost


def v1_request(url: str, photo: bytes) -> bytes:
    """The bytes of a v1 request for one photo."""
    return json_request(url, PREDICT, {"instances": [{"image": {"b64": base64_text(photo)}}]})


def v2_json_request(url: str, photo: bytes) -> bytes:
    """The bytes of a v2 request for one photo in JSON."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64_text(photo)]}
    return json_request(url, INFER, {"inputs": [tensor]})


def v2_request(url: str, photo: bytes) -> bytes:
    """The bytes of a v2 request for one photo as a binary tensor, with a binary answer."""
    size = len(photo) + 4
    head = orjson.dumps(
        {
            "inputs": [
                {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}},
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    headers = f"Inference-Header-Content-Length: {len(head)}\r\nContent-Type: application/octet-stream"
    return post(url, INFER, headers, head + struct.pack("<I", len(photo)) + photo)


def json_request(url: str, path: str, document: Any) -> bytes:
    """The bytes of a POST of JSON."""
    return post(url, path, "Content-Type: application/json", orjson.dumps(document))


def upload_request(url: str, path: str, field: str, photo: bytes) -> bytes:
    """The bytes of a POST of a JPEG as a browser's form sends it."""
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="photo.jpg"\r\n'
    body = f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo + b"\r\n--edge--\r\n"
    return post(url, path, "Content-Type: multipart/form-data; boundary=edge", body)


def base64_text(photo: bytes) -> str:
    """The photo as JSON takes it."""
    return base64.b64encode(photo).decode()


def post(url: str, path: str, headers: str, body: bytes) -> bytes:
    """The bytes of a POST."""
    line = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{headers}\r\nContent-Length: {len(body)}\r\n\r\n"
    return line.encode() + body


@dataclass
class Load:
    """What came back: (status, seconds) of each request, and the seconds from the first to the last answer."""

    answers: list[tuple[int, float]] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0

    def times(self, status: int = 200) -> list[float]:
        """Sorted times in milliseconds of the answers with a status."""
        return sorted(taken * 1000 for found, taken in self.answers if found == status)

    def rate(self, status: int = 200) -> float:
        """Answers a second with a status."""
        return len(self.times(status)) / self.seconds if self.seconds else 0.0

    def at(self, share: float, status: int = 200) -> float:
        """The time in milliseconds within which this share of the answers came."""
        times = self.times(status)
        return times[min(int(share * len(times)), len(times) - 1)] if times else float("nan")


class _Client(asyncio.Protocol):
    """One kept connection with one request under way at most; ``body`` is that of the last answer."""

    def __init__(self) -> None:
        self.waiter: asyncio.Future[int] | None = None
        self._buffer = b""
        self._missing = 0
        self._status = 0
        self.body = b""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        self.waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.waiter

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
            self.body += data
        else:
            self._buffer += data
            head, found, body = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self._status = int(head[9:12])
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            self._missing, self._buffer, self.body = int(length) - len(body), b"", body
        if self._missing <= 0 and self.waiter is not None and not self.waiter.done():
            self._missing = 0
            self.waiter.set_result(self._status)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(ConnectionResetError())


class _Pool:
    """Connections to one address, opened as they are needed."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._idle: list[_Client] = []

    async def ask(self, request: bytes, load: Load) -> None:
        start = time.perf_counter()
        try:
            while self._idle and self._idle[-1].closed:
                self._idle.pop()
            client = self._idle.pop() if self._idle else await self._open()
            status = await client.ask(request)
        except OSError:
            load.lost += 1
            return
        load.answers.append((status, time.perf_counter() - start))
        if not client.closed:
            self._idle.append(client)

    async def _open(self) -> _Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(_Client, self._address.hostname, self._address.port)
        return client


def answers_to(url: str, requests: list[bytes]) -> list[bytes]:
    """The bodies of the answers to some requests, one after the other.

    Raises:
        SystemExit: one of them is refused.
    """

    async def main() -> list[bytes]:
        address, bodies = urlsplit(url), []
        _, client = await asyncio.get_running_loop().create_connection(_Client, address.hostname, address.port)
        for request in requests:
            status = await client.ask(request)
            if status != 200:
                raise SystemExit(f"{url} answered {status}: {client.body[:300]!r}")
            bodies.append(client.body)
        return bodies

    return uvloop.run(main())


def closed_loop(url: str, requests: list[bytes], callers: int, seconds: float) -> Load:
    """``callers`` callers who ask again as soon as they are answered."""

    async def main() -> Load:
        load, pool, turn, start = Load(), _Pool(url), itertools.cycle(requests), time.perf_counter()

        async def call() -> None:
            while time.perf_counter() - start < seconds:
                await pool.ask(next(turn), load)

        await asyncio.gather(*(call() for _ in range(callers)))
        load.seconds = time.perf_counter() - start
        return load

    return uvloop.run(main())


def open_loop(url: str, requests: list[bytes], rate: float, seconds: float, *, poisson: bool = False) -> Load:
    """``rate`` requests a second whatever the answers do, evenly or as a Poisson process."""
    gaps = random.Random(0)

    async def main() -> Load:
        load, pool, turn, start = Load(), _Pool(url), itertools.cycle(requests), time.perf_counter()
        due, tasks = 0.0, []
        while due < seconds:
            delay = start + due - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            tasks.append(asyncio.create_task(pool.ask(next(turn), load)))
            due += gaps.expovariate(rate) if poisson else 1 / rate
        _, hung = await asyncio.wait(tasks, timeout=HUNG_SECONDS)
        load.lost += len(hung)
        for task in hung:
            task.cancel()
        load.seconds = time.perf_counter() - start
        return load

    return uvloop.run(main())
