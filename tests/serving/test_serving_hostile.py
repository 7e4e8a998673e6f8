"""What nobody should send: each is refused with the right status and a sentence, and the next good request is served.

Memory is the peak of the whole process as the kernel counts it. Bounds are far above what is needed and far below what
the input asks for.
"""

import asyncio
import base64
import concurrent.futures
import contextlib
import http.client
import io
import json
import re
import socket
import struct
import zlib
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

from hakka.monitor.log import read_log
from tests.serving.conftest import encode_photo
from tests.serving.server import running_server

PREDICT = "/v1/models/hakka:predict"
INFER = "/v2/models/hakka/infer"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(model_dir):
    with running_server("--model-dir", model_dir, "--no-log", "--max-body-mib", "8", "--grpc-port", "0") as running:
        yield running


@pytest.fixture
def ask(server, photo):
    """Sends raw bytes as v2 BYTES; afterwards a good request must be answered, and nothing may have gone wrong."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield lambda content: infer(client, content)
        assert infer(client, photo).status_code == 200
    assert not [line for line in server.lines if "Traceback" in line]


def infer(client, content: bytes) -> httpx.Response:
    element = struct.pack("<I", len(content)) + content
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(element)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return client.post(INFER, content=head + element, headers=headers)


def peak_mib(server) -> float:
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())[1]) / 1024


def sentence(answer: httpx.Response) -> str:
    assert list(answer.json()) == ["error"]
    said = answer.json()["error"]
    assert "\n" not in said
    assert len(said) < 300
    return said


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *, depth=8, colour=2, rows=None, extra=b"") -> bytes:
    """A black PNG; ``rows`` fewer than its height make it a cut one. ``extra`` stands before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    packer, row = zlib.compressobj(1), bytes(1 + width * depth * {0: 1, 2: 3, 6: 4}[colour] // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def scans(count: int, side=1000) -> bytes:
    """A progressive JPEG whose last scan stands there again and again, which is valid."""
    jpeg = encode_photo(side, side, progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * (count - jpeg.count(b"\xff\xda")) + b"\xff\xd9"


def huge_webp() -> bytes:
    """A small WebP that says it is 16383 x 8000."""
    webp = encode_photo(64, 64, "WEBP")
    assert webp[26:30] == struct.pack("<HH", 64, 64)
    return webp[:26] + struct.pack("<HH", 16383, 8000) + webp[30:]


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


JPEG = encode_photo()
REFUSED = {
    "60k x 60k PNG": (lambda: png(60_000, 60_000, rows=1), "must hold at most 64000000 pixels"),
    "9000 x 9000 PNG": (lambda: png(9000, 9000, rows=1), "must hold at most 64000000 pixels, got 9000x9000"),
    "PNG that unpacks a gigabyte of text": (
        lambda: png(8, 8, extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**27), 1)) * 8),
        "too large",
    ),
    "PNG of a million chunks": (lambda: png(8, 8, extra=chunk(b"abCd", b"") * 500_000), "at most 65536 chunks"),
    "thousand-scan JPEG": (lambda: scans(1000), "must have at most 100 scans, got 1000"),
    "48 megapixels in 40 scans": (lambda: scans(40, 6900), "must have at most 21 scans, got 40"),
    "JPEG of a million comments": (
        lambda: JPEG[:2] + b"\xff\xfe\0\2" * 1_000_000 + JPEG[2:],
        "at most 1000 segments",
    ),
    "JPEG with megabytes of padding": (lambda: JPEG[:2] + b"\xff" * 5_000_000 + JPEG[2:], "not made of segments"),
    "JPEG cut in half": (lambda: encode_photo(512, 512)[:2000], "whole JPEG, PNG or WebP"),
    "huge WebP": (huge_webp, "must hold at most 64000000 pixels, got 16383x8000"),
    "PNG cut in half": (lambda: encode_photo(512, 512, "PNG")[:500], "whole JPEG, PNG or WebP"),
    "WebP cut in half": (lambda: encode_photo(512, 512, "WEBP")[:150], "whole JPEG, PNG or WebP"),
    "nothing": (lambda: b"", "must not be empty"),
    "zeros": (lambda: bytes(MIB), "the bytes are none of these"),
    "GIF": (lambda: animation("GIF"), "the bytes are none of these"),
    "TIFF": (lambda: encode_photo(kind="TIFF"), "the bytes are none of these"),
    "BMP": (lambda: encode_photo(kind="BMP"), "the bytes are none of these"),
    "PDF": (lambda: encode_photo(kind="PDF"), "the bytes are none of these"),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', "none of"),
    "FITS": (lambda: b"SIMPLE  =                    T".ljust(2880) + bytes(2880), "the bytes are none of these"),
    "EPS": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n", "none of these"),
    "a zip file": (lambda: b"PK\3\4" + bytes(1000), "the bytes are none of these"),
    "a JPEG's start and nothing else": (lambda: b"\xff\xd8\xff", "whole JPEG, PNG or WebP"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_photo_is_400_and_a_sentence(server, ask, name):
    make, part = REFUSED[name]
    content, before = make(), peak_mib(server)
    answer = ask(content)
    assert answer.status_code == 400
    assert part in sentence(answer)
    assert sentence(answer).startswith("input 'image'")
    assert peak_mib(server) - before < 120


def test_the_largest_photos_are_decoded_one_at_a_time(server, ask):
    bomb = png(5600, 5600)  # 31 megapixels in some tens of kilobytes
    assert len(bomb) < MIB
    before = peak_mib(server)
    with concurrent.futures.ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(ask, [bomb] * 4))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[0].json()["parameters"]["width"] == 5600
    assert peak_mib(server) - before < 280  # one takes 125, three at once 375


def test_a_request_of_many_large_photos_does_not_keep_their_pixels(server, ask):
    b64 = base64.b64encode(png(2500, 2500)).decode()
    before = peak_mib(server)
    body = {"instances": [{"image": {"b64": b64}}] * 32}
    answer = httpx.post(server.url + PREDICT, json=body, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["predictions"][31]["image"] == {"width": 2500, "height": 2500}
    assert peak_mib(server) - before < 200  # 32 of them in full are 600


def cmyk() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (250, 20, 20)).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("CMYK", cmyk),
        ("16-bit grey PNG", lambda: png(64, 64, depth=16, colour=0)),
        ("16-bit RGBA PNG", lambda: png(64, 64, depth=16, colour=6)),
        ("animated WebP", lambda: animation("WEBP")),
        ("animated PNG", lambda: animation("PNG")),
        ("several pictures in one JPEG", lambda: animation("MPO")),
        ("PNG called a JPEG by nobody", lambda: encode_photo(64, 64, "PNG")),
        ("broken EXIF", lambda: encode_photo(64, 64, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(40))),
        ("JPEG with bytes after its end", lambda: encode_photo(64, 64) + bytes(5000)),
        ("90 scans", lambda: scans(90, 64)),
    ],
)
def test_odd_photos_that_are_photos_are_answered(ask, name, make):
    answer = ask(make())
    assert answer.status_code == 200, answer.text
    assert (answer.json()["parameters"]["width"], answer.json()["parameters"]["height"]) == (64, 64)


def test_no_metadata_of_a_photo_is_kept(tmp_path, model_dir):
    exif = Image.Exif()
    exif[0x010F] = "SECRETMAKER"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    exif.get_ifd(0x8825)[29] = "SECRETDATE"
    photo = encode_photo(64, 64, exif=exif, comment=b"SECRETCOMMENT", xmp=b"<x>SECRETXMP</x>")
    assert photo.count(b"SECRET") >= 3
    with running_server("--model-dir", model_dir, "--log", tmp_path, "--keep-images", "1") as server:
        answer = httpx.post(
            server.url + PREDICT, json={"instances": [{"image": {"b64": base64.b64encode(photo).decode()}}]}
        )
        assert answer.status_code == 200
        assert server.stop() == 0
        printed = "\n".join(server.lines)
    assert len(read_log(tmp_path)) == 1
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for text in (answer.text, printed, written.decode("latin-1"), read_log(tmp_path).to_json()):
        assert "SECRET" not in text


def exchange(server, *parts: bytes) -> tuple[int, str]:
    """Status and error of what is answered to raw bytes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        with contextlib.suppress(OSError):  # refused in the middle of it
            for part in parts:
                connection.sendall(part)
        received = b""
        while not re.search(rb"\r\n\r\n\{.*\}", received, re.DOTALL):
            more = connection.recv(65536)
            if not more:
                break
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


POST = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n".encode()
GIGABYTE = [b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 16_000


@pytest.mark.parametrize(
    ("parts", "status", "part"),
    [
        ([POST, b"Content-Length: 1073741824\r\n\r\n"], 413, "at most 8388608 bytes"),
        ([POST, b"Transfer-Encoding: chunked\r\n\r\n", *GIGABYTE], 413, "at most 8388608 bytes"),
        ([POST, b"X: ", *[b"a" * 65536] * 600], 431, "at most 65536 bytes"),
        ([b"GET /", *[b"a" * 65536] * 600], 431, "at most 65536 bytes"),
        ([POST, *[b"X: a\r\n" * 10_000] * 100], 431, "at most 65536 bytes"),
        ([POST, b"Transfer-Encoding: chunked\r\n\r\n2;", *[b"a" * 65536] * 600], 431, "at most 65536 bytes"),
        ([POST, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x"], 400, "not an HTTP request"),
        ([POST, b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"], 400, "not an HTTP"),
        ([POST, b"Content-Length: -2\r\n\r\n{}"], 400, "not an HTTP request"),
        ([POST, b"Content-Length: 99999999999999999999999\r\n\r\n{}"], 400, "not an HTTP request"),
        ([POST, b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], 400, "not an HTTP request"),
        ([b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n"], 400, "not an HTTP request"),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 400, "not an HTTP request"),
        ([POST, b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"], 415, "must not be compressed"),
        ([POST, b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"], 415, "must not be compressed, got 'gzip'"),
        ([POST, b"Content-Type: image/jpeg\r\nContent-Length: 2\r\n\r\n{}"], 415, "Content-Type must be application/"),
        ([b"OPTIONS /v2/models/hakka/infer HTTP/1.1\r\nHost: x\r\n\r\n"], 405, "OPTIONS is not one of POST"),
        ([b"DELETE /v2/models/hakka HTTP/1.1\r\nHost: x\r\n\r\n"], 405, "DELETE is not one of"),
        ([b"GET /v1/models/hakka:predict HTTP/1.1\r\nHost: x\r\n\r\n"], 405, "GET is not one of POST"),
        ([b"GET /v2/models/%00%ff HTTP/1.1\r\nHost: x\r\n\r\n"], 404, "does not exist"),
        ([b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"], 404, "there is nothing at"),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)
def test_hostile_http(server, ask, photo, parts, status, part):
    before = peak_mib(server)
    answered, said = exchange(server, *parts)
    assert (answered, part in said) == (status, True), said
    assert peak_mib(server) - before < 60
    assert ask(photo).status_code == 200


def test_an_offer_of_http2_is_passed_over_and_its_body_is_no_request(server, photo):
    """Java's clients send it with their first request."""
    element = struct.pack("<I", len(photo)) + photo
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(element)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
    length = f"Inference-Header-Content-Length: {len(head)}\r\nContent-Length: {len(head) + len(element)}\r\n\r\n"
    headers, body = POST + offer + length.encode(), head + element
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for parts in ([headers, body], [headers + body]):
            for part in parts:
                connection.sendall(part)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, len(json.loads(answer.read())["outputs"])) == (200, 7)
    smuggled = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    post = POST + offer + b"Content-Length: %d\r\n\r\n" % len(smuggled)
    status, said = exchange(server, post, smuggled)
    assert (status, "the body is not valid JSON" in said) == (400, True), said
    assert exchange(server, post * 2000)[0] == 400
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert exchange(server, last)[0] == 404


def test_head_is_get_without_a_body(server):
    assert (httpx.head(f"{server.url}/v2/health/live").status_code, httpx.head(server.url).content) == (200, b"")


DEEP = b"[" * 100_000 + b"]" * 100_000
TENSOR = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 3]}


@pytest.mark.parametrize(
    ("body", "headers", "part"),
    [
        (DEEP, {}, "not valid JSON"),
        (b'{"inputs": ' + DEEP + b"}", {}, "not valid JSON"),
        (b'{"a":' * 100_000, {}, "not valid JSON"),
        (b"\xff\xfe{}", {}, "not valid JSON"),
        (b'{"id": "\xff"}', {}, "not valid JSON"),
        (b'{"inputs": [' + b"0," * 1_000_000 + b"0]}", {}, "inputs must hold one tensor named 'image'"),
        (json.dumps({"inputs": [TENSOR | {"data": list(range(200_000))}]}).encode(), {}, "from 0 to 255"),
        (json.dumps({"inputs": [TENSOR | {"shape": [2**62] * 4, "data": [1]}]}).encode(), {}, "shape"),
        (b'{"inputs": [], "parameters": {"confidence": NaN}}', {}, "not valid JSON"),
        (b'{"inputs": [], "parameters": {"confidence": 1e400}}', {}, "not valid JSON"),
        (b"{}", {"inference-header-content-length": "-1"}, "must be from 0 to the body's 2 bytes, got '-1'"),
        (b"{}", {"inference-header-content-length": "9" * 5000}, "must be from 0 to the body's 2 bytes"),
        (b"{}", {"inference-header-content-length": "two"}, "must be from 0 to the body's 2 bytes, got 'two'"),
        (b"{}", {"inference-header-content-length": "\u0662".encode()}, "must be from 0 to the body's 2 bytes"),
        (b'{"inputs": []}', {"x-request-timeout-ms": "soon"}, "inputs must hold one tensor"),
        (
            json.dumps({"inputs": [TENSOR | {"data": [1, 2, 3]}]}).encode(),
            {"x-request-timeout-ms": "-1"},
            "milliseconds",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_json_and_headers(server, ask, photo, body, headers, part):
    before = peak_mib(server)
    answer = httpx.post(server.url + INFER, content=body, headers=headers, timeout=30)
    assert (answer.status_code, part in sentence(answer)) == (400, True), answer.text
    assert peak_mib(server) - before < 100
    assert ask(photo).status_code == 200


@pytest.mark.parametrize("junk", [b"[],", b'"",', b'\\",'])
def test_a_long_json_of_nothings_is_refused_unread(server, ask, photo, junk):
    before = peak_mib(server)
    body = b'{"inputs":[' + junk * (7 * MIB // len(junk)) + b"0]}"
    answer = httpx.post(server.url + INFER, content=body, timeout=30)
    assert (answer.status_code, "the JSON must be at most" in sentence(answer)) == (413, True), answer.text
    assert peak_mib(server) - before < 100
    assert ask(photo).status_code == 200


def test_clients_that_leave_in_mid_body_leave_nothing_behind(server, ask, photo):
    host, port = server.url.removeprefix("http://").split(":")
    before = peak_mib(server)
    for _ in range(40):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(POST + b"Content-Length: 8000000\r\n\r\n" + b"x" * 4_000_000)
    assert ask(photo).status_code == 200
    assert peak_mib(server) - before < 150


@pytest.fixture(scope="module")
def stub(server):
    address = next(line for line in server.lines if "gRPC at " in line).split("gRPC at ")[1]
    with grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
        yield GRPCInferenceServiceStub(channel)


def message(kind="BYTES", shape=(1,), raw=(b"\1\0\0\0x",), name="image", model="hakka", **fields):
    tensor = {"name": name, "datatype": kind, "shape": shape}
    return pb.ModelInferRequest(model_name=model, **{"inputs": [tensor], "raw_input_contents": raw, **fields})


GRPC = {
    "nothing": (pb.ModelInferRequest(), "NOT_FOUND", "does not exist"),
    "no input": (pb.ModelInferRequest(model_name="hakka"), "INVALID_ARGUMENT", "inputs must hold one tensor"),
    "another model": (message(model="other"), "NOT_FOUND", "does not exist"),
    "another version": (message(model_version="zz"), "NOT_FOUND", "version zz of hakka is not served here"),
    "another name": (message(name="picture"), "INVALID_ARGUMENT", "inputs must hold one tensor named 'image'"),
    "no content": (message(raw=()), "INVALID_ARGUMENT", "data must be a list of one base64 string"),
    "two contents": (message(raw=(b"", b"")), "INVALID_ARGUMENT", "one element an input, got 2"),
    "no length": (message(raw=(b"x",)), "INVALID_ARGUMENT", "each element's length in 4 bytes"),
    "wrong length": (message(raw=(b"\xff\xff\xff\xffx",)), "INVALID_ARGUMENT", "each element's length in 4 bytes"),
    "overflow": (message("UINT8", [2**62, 2**62, 3], (b"x",)), "INVALID_ARGUMENT", "got 1"),
    "negative": (message("UINT8", [-1, -1, 3], (b"xxx",)), "INVALID_ARGUMENT", "whole numbers from 1"),
    "floats": (message("FP32", [1], (b"\0\0\0\0",)), "INVALID_ARGUMENT", "datatype must be BYTES"),
    "no photo": (message(), "INVALID_ARGUMENT", "the bytes are none of these"),
    "NaN": (message(parameters={"confidence": {"string_param": "nan"}}), "INVALID_ARGUMENT", "from 0 to 1, got 'nan'"),
    "a million inputs": (message(inputs=[{}] * 1_000_000), "RESOURCE_EXHAUSTED", "inputs must be at most 1000, got 10"),
    "a million sides": (message(shape=[1] * 1_000_000), "RESOURCE_EXHAUSTED", "the sides of a shape must be at most"),
    "9 MiB": (message(raw=(bytes(9 * MIB),)), "RESOURCE_EXHAUSTED", "larger than max"),
}


@pytest.mark.parametrize("name", GRPC)
def test_hostile_grpc(server, ask, stub, photo, name):
    request, code, part = GRPC[name]
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelInfer(request, timeout=20)
    assert error.value.code().name == code
    assert part in error.value.details()
    good = message(raw=(struct.pack("<I", len(photo)) + photo,))
    assert len(stub.ModelInfer(good, timeout=20).outputs) == 7
    assert ask(photo).status_code == 200


def test_calls_that_send_much_at_once_take_no_more_memory_than_there_is(server, ask, photo):
    address = next(line for line in server.lines if "gRPC at " in line).split("gRPC at ")[1]
    method, before = "/inference.GRPCInferenceService/ModelInfer", peak_mib(server)
    large = message(raw=(bytes(7 * MIB),)).SerializeToString()

    async def attack():
        async with grpc.aio.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as channel:
            calls = [channel.unary_unary(method)(large, timeout=60) for _ in range(40)]
            assert (await GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=20)).live
            return await asyncio.gather(*calls, return_exceptions=True)

    calls = asyncio.run(attack())
    assert peak_mib(server) - before < 200  # 40 of them in full are 280, and as much again once they are parsed
    assert {error.code().name for error in calls} <= {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}
    assert ask(photo).status_code == 200


def test_a_call_without_a_message_or_with_another_one_is_refused(server):
    address = next(line for line in server.lines if "gRPC at " in line).split("gRPC at ")[1]
    with grpc.insecure_channel(address) as channel:
        for method, messages, part in (
            ("ModelInfer", [], "got none"),
            ("ModelReady", [b"\xff"], "not one of the protocol"),
        ):
            with pytest.raises(grpc.RpcError, match=part) as error:
                channel.stream_unary(f"/inference.GRPCInferenceService/{method}")(iter(messages), timeout=20)
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_numbers_out_of_range_in_typed_contents(stub):
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 3], "contents": {"uint_contents": [1, 2, 256]}}
    with pytest.raises(grpc.RpcError, match="whole numbers from 0 to 255"):
        stub.ModelInfer(pb.ModelInferRequest(model_name="hakka", inputs=[tensor]), timeout=20)
    tensor["contents"] = {"uint_contents": [1, 2, 3]}
    found = stub.ModelInfer(pb.ModelInferRequest(model_name="hakka", inputs=[tensor]), timeout=20)
    assert np.frombuffer(found.raw_output_contents[2], "<i4").tolist() == [0, 1]


def test_refusals_are_counted_by_reason(server, stub):
    def counts():
        text = httpx.get(f"{server.url}/metrics").text
        return {
            reason: float(count) for reason, count in re.findall(r'hakka_refused_total{reason="(\w+)"} (\S+)', text)
        }

    before = counts()
    with httpx.Client(base_url=server.url) as client:
        infer(client, b"no photo")
        client.post(INFER, content=b"{}")
        client.post(INFER, content=b"{}", headers={"content-encoding": "gzip"})
        client.post(INFER, content=bytes(9 * MIB))
    with pytest.raises(grpc.RpcError):
        stub.ModelInfer(message(), timeout=20)
    after = counts()
    more = {reason: after[reason] - before[reason] for reason in after if after[reason] != before[reason]}
    assert more == {"bad_image": 2, "bad_request": 2, "too_large": 1}


def test_nothing_of_all_this_was_printed(server):
    assert [line for line in server.lines if "Serving hakka" not in line and "gRPC at" not in line] == []
