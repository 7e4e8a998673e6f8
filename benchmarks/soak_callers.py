"""Who asks in ``soak.py``: good callers over every protocol, and each kind of bad one that ``tests/serving`` knows.

Each is a generator that does one thing a step and never raises: what goes wrong is a failure of the soak.
"""

import itertools
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

import tests.serving.test_serving_hostile as hostile
from benchmarks.agreement import Found, agreement, found_by_hakka
from benchmarks.load import INFER, PREDICT, base64_text, open_loop, v2_request

BODY_SECONDS = 3  # that the server gives a request to arrive
TRIES = 300  # of a good request that is told to come again
BURST, BURST_SECONDS = 400, 10.0  # requests in one second, every so often
SILENT = 20  # connections
OUTPUTS = [{"name": name} for name in ("boxes", "scores", "labels")]
SAME_CONFIDENCE = 0.01


@dataclass
class Soak:
    """Where the server is, how long it goes on, and what came of it."""

    url: str
    grpc_address: str
    photos: list[bytes]
    until: float
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)  # of the predictions that good callers got
    first: dict[int, Found] = field(default_factory=dict)  # answer to each photo
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def goes_on(self) -> bool:
        """There is time left."""
        return time.monotonic() < self.until

    def count(self, name: str, failure: str = "", times: int = 1) -> None:
        """So many more of these; with a ``failure``, they were not answered as they should be."""
        with self.lock:
            self.counts[name] += times
            if failure:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {name}: {failure[:400]}")

    def connect(self) -> socket.socket:
        """A connection to the REST port."""
        address = urlsplit(self.url)
        return socket.create_connection((address.hostname, address.port), timeout=30)


class Busy(Exception):
    """The server says to come again."""


def good(soak: Soak, stack: ExitStack) -> Iterator[None]:
    """Good requests over each protocol, which must be answered, and always with the same."""
    client = stack.enter_context(httpx.Client(base_url=soak.url, timeout=60))
    stub = GRPCInferenceServiceStub(stack.enter_context(grpc.insecure_channel(soak.grpc_address)))
    ways: dict[str, Callable[[bytes], tuple[str, Found]]] = {
        "v1": lambda photo: by_v1(client, photo),
        "v2 JSON": lambda photo: by_v2_json(client, photo),
        "v2 binary": lambda photo: by_v2_binary(client, photo),
        "gRPC": lambda photo: by_grpc(stub, photo),
    }
    for index in itertools.cycle(range(len(soak.photos))):
        for way, ask in ways.items():
            try:
                prediction, found = patiently(soak, ask, soak.photos[index])
                before = soak.first.setdefault(index, found)
                soak.count(f"good: {way}", "" if same(before, found) else f"found {found}, before it was {before}")
                soak.ids.add(prediction)
            except Exception as error:  # this is what the program is there to see
                soak.count(f"good: {way}", repr(error))
            yield


def patiently(soak: Soak, ask: Callable[[bytes], tuple[str, Found]], photo: bytes) -> tuple[str, Found]:
    """The answer, asked for again as long as the server is busy."""
    for _ in range(TRIES):
        try:
            return ask(photo)
        except Busy:
            soak.count("good, told to come again")
            time.sleep(0.2)
    raise TimeoutError(f"told {TRIES} times to come again")


def same(before: Found, found: Found) -> bool:
    """Two answers agree in every box, class and confidence."""
    pairs = zip(sorted(one[1] for one in before), sorted(one[1] for one in found), strict=False)
    return agreement([before], [found])[1] == 1 and all(abs(one - other) < SAME_CONFIDENCE for one, other in pairs)


def by_v1(client: httpx.Client, photo: bytes) -> tuple[str, Found]:
    """Prediction id and what is found, over v1."""
    answer = _good(client.post(PREDICT, json={"instances": [{"image": {"b64": base64_text(photo)}}]})).json()
    return answer["predictions"][0]["prediction_id"], found_by_hakka(answer)


def by_v2_json(client: httpx.Client, photo: bytes) -> tuple[str, Found]:
    """The same over v2 in JSON."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64_text(photo)]}
    answer = _good(client.post(INFER, json={"inputs": [tensor], "outputs": OUTPUTS})).json()
    values = [output["data"] for output in answer["outputs"]]
    return answer["parameters"]["prediction_id"], _found(*values)


def by_v2_binary(client: httpx.Client, photo: bytes) -> tuple[str, Found]:
    """The same over v2 with binary tensors both ways."""
    element = struct.pack("<I", len(photo)) + photo
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(element)}}
    document = {"inputs": [tensor], "outputs": OUTPUTS, "parameters": {"binary_data_output": True}}
    head = json.dumps(document).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    response = _good(client.post(INFER, content=head + element, headers=headers))
    at = int(response.headers["inference-header-content-length"])
    answer, raw = json.loads(response.content[:at]), []
    for output in answer["outputs"]:
        size = output["parameters"]["binary_data_size"]
        raw.append(response.content[at : at + size])
        at += size
    return answer["parameters"]["prediction_id"], _found(*_values(raw))


def by_grpc(stub: GRPCInferenceServiceStub, photo: bytes) -> tuple[str, Found]:
    """The same over gRPC."""
    request = hostile.message(raw=(struct.pack("<I", len(photo)) + photo,), outputs=OUTPUTS)
    try:
        answer = stub.ModelInfer(request, timeout=60)
    except grpc.RpcError as error:
        raise (Busy if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else error) from None
    return answer.parameters["prediction_id"].string_param, _found(*_values(answer.raw_output_contents))


def _good(response: httpx.Response) -> httpx.Response:
    if response.status_code == 429:
        raise Busy
    return response.raise_for_status()


def _values(raw: list[bytes]) -> tuple[list[float], list[float], list[str]]:
    """Boxes, scores and labels from the bytes of their tensors."""
    boxes, scores, texts = raw
    labels, at = [], 0
    while at < len(texts):
        end = at + 4 + struct.unpack_from("<I", texts, at)[0]
        labels.append(texts[at + 4 : end].decode())
        at = end
    return np.frombuffer(boxes, "<f4").tolist(), np.frombuffer(scores, "<f4").tolist(), labels


def _found(boxes: list[float], scores: list[float], labels: list[str]) -> Found:
    return [(label, scores[i], boxes[4 * i : 4 * i + 4]) for i, label in enumerate(labels)]


def refused(soak: Soak, stack: ExitStack) -> Iterator[None]:
    """Every hostile photo, HTTP request, document, header and message of the tests, again and again."""
    client = stack.enter_context(httpx.Client(base_url=soak.url, timeout=60))
    channel = grpc.insecure_channel(soak.grpc_address, [("grpc.max_send_message_length", -1)])
    stub = GRPCInferenceServiceStub(stack.enter_context(channel))
    contents = {name: make() for name, (make, _) in hostile.REFUSED.items()}
    while True:
        for name, (_, part) in hostile.REFUSED.items():
            answer = hostile.infer(client, contents[name])
            expect(soak, "hostile: photos", (400, part), answer.status_code, answer.text)
            yield
        for parts, status, part in cases(hostile.test_hostile_http):
            try:
                expect(soak, "hostile: HTTP", (status, part), *hostile.exchange(soak, *parts))
            except (OSError, IndexError):  # it was ended while we still sent, and the answer is lost on the way
                soak.count("hostile: HTTP, cut off")
            yield
        for body, headers, part in cases(hostile.test_hostile_json_and_headers):
            answer = client.post(INFER, content=body, headers=headers)
            expect(soak, "hostile: JSON and headers", (400, part), answer.status_code, answer.text)
            yield
        for message, code, part in hostile.GRPC.values():
            try:
                stub.ModelInfer(message, timeout=60)
                soak.count("hostile: gRPC", f"answered, where it should be {code}")
            except grpc.RpcError as error:
                busy = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "; try again in " in error.details()
                right = busy or (error.code().name == code and part in error.details())
                soak.count("hostile: gRPC", "" if right else f"{error.code()} {error.details()}, not {code} {part}")
            yield


def cases(test: Any) -> list[Any]:
    """The table of a parametrised test."""
    return [*test.pytestmark[0].args[1]]


def expect(soak: Soak, kind: str, wanted: tuple[int, str], status: int, said: str) -> None:
    """Count a hostile request; it must be answered with a status and a part of a sentence, or be told to come again."""
    right = status == 429 or (status == wanted[0] and wanted[1] in said.replace('\\"', '"'))
    soak.count(kind, "" if right else f"got {status} {said}, not {wanted}")


def slow(soak: Soak, _: ExitStack) -> Iterator[None]:
    """Requests that are not sent in time: the first bytes of a head, of a body, and drop by drop."""
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    for start in itertools.cycle((head[:20], head, head + "\r\n{")):
        with soak.connect() as connection:
            connection.sendall(start.encode())
            answer = b""
            with suppress(OSError):
                answer = connection.recv(4096)
        right = answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 429"))
        soak.count("slow", "" if right else f"{start[-20:]!r} was answered {answer[:200]!r}")
        yield
        with soak.connect() as connection, suppress(OSError):
            for _ in range(10 * BODY_SECONDS + 50):
                connection.sendall(b"P")
                time.sleep(0.1)
            soak.count("slow, drop by drop", "it was not ended")
        soak.count("slow, drop by drop")
        yield


def leaving(soak: Soak, _: ExitStack) -> Iterator[None]:
    """Clients that leave in the middle of a body, and before the answer to a whole request."""
    whole = v2_request(soak.url, soak.photos[0])
    while True:
        for name, sent in (("in mid-body", whole[: len(whole) // 2]), ("before the answer", whole)):
            with suppress(OSError), soak.connect() as connection:
                connection.sendall(sent)
            soak.count(f"left {name}")
            time.sleep(0.02)
            yield


def silent(soak: Soak, _: ExitStack) -> Iterator[None]:
    """Connections on which nothing is said: each must be closed."""
    while True:
        connections = [soak.connect() for _ in range(SILENT)]
        for connection in connections:
            with connection:
                try:
                    said = connection.recv(100)
                    soak.count("silent", f"it was told {said!r}" if said else "")
                except OSError as error:
                    soak.count("silent", repr(error))
        yield


def bursts(soak: Soak, _: ExitStack) -> Iterator[None]:
    """A second of far more requests than can be done: each is answered or told to come again."""
    requests = [v2_request(soak.url, photo) for photo in soak.photos]
    while True:
        load = open_loop(soak.url, requests, BURST, 1.0)
        statuses = Counter(status for status, _ in load.answers)
        for status, count in statuses.items():
            soak.count(f"burst: {status}", "" if status in (200, 429) else f"{count} times", count)
        if load.lost:
            soak.count("burst: lost", f"{load.lost} requests", load.lost)
        started = time.monotonic()
        while soak.goes_on and time.monotonic() - started < BURST_SECONDS:
            time.sleep(0.1)
        yield


CALLERS = [good] * 4 + [refused] * 3 + [slow, leaving, silent, bursts]
