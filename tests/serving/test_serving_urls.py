"""Photos by address: only where the operator allows it, and never a way into the server's own network."""

import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from hakka.errors import InvalidInput
from serving.fetch import is_public, read_address
from tests.serving.server import running_server

PREDICT = "/v1/models/hakka:predict"


@contextmanager
def web(photo: bytes):
    """A web server on this machine, and the paths that it was asked for."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers["Host"], self.headers.get("Accept-Encoding")))
            name = self.path.partition("?")[0].rpartition("/")[2]
            port = self.server.server_port
            places = {"in": "/photos/a.jpg", "out": "/private/a.jpg", "other": f"http://localhost:{port}/photos/a.jpg"}
            places |= {"loop": "/photos/loop", "file": "file:///etc/passwd"}
            if name in places:
                self.send_response(302)
                self.send_header("Location", places[name])
                self.end_headers()
                return
            self.send_response(200 if name in ("a.jpg", "text", "endless", "slow") else 404)
            self.end_headers()
            with suppress(OSError):  # the other side has heard enough
                self._send(name)

        def _send(self, name):
            if name == "endless":
                for _ in range(10_000):
                    self.wfile.write(bytes(65536))
            elif name == "slow":
                closed.wait(30)
            else:
                self.wfile.write(photo if name == "a.jpg" else b"root:x:0:0")

        def log_message(self, *_):
            pass

    closed = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, seen
    finally:
        closed.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def world(model_dir, photo):
    with web(photo) as (port, seen):
        allowed = [f"http://127.0.0.1:{port}/photos", f"http://localhost:{port}/photos"]
        options = [part for prefix in allowed for part in ("--allow-url", prefix)]
        with running_server("--model-dir", model_dir, "--no-log", "--max-body-mib", "2", *options) as server:
            yield server, port, seen


def ask(server, *urls, **extra):
    instances = [{"image": {"url": url}, **extra} for url in urls]
    return httpx.post(server.url + PREDICT, json={"instances": instances}, timeout=30)


def test_photos_are_fetched_from_an_allowed_place(world, photo_b64):
    server, port, seen = world
    seen.clear()
    base = f"http://127.0.0.1:{port}/photos"
    body = {"instances": [{"image": {"url": f"{base}/a.jpg"}}, {"image": {"b64": photo_b64}}]}
    answer = httpx.post(server.url + PREDICT, json=body, timeout=30)
    assert [len(found["detections"]) for found in answer.json()["predictions"]] == [2, 2]
    assert seen == [("/photos/a.jpg", f"127.0.0.1:{port}", "identity")]
    assert ask(server, f"{base}/in", f"{base}/a.jpg?size=big").status_code == 200


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("http://127.0.0.1:{port}/private/a.jpg", "must lie under an address that this server allows"),
        ("http://127.0.0.1:{port}/photos-private/a.jpg", "must lie under an address that this server allows"),
        ("http://127.0.0.1:{port}/photos/../private/a.jpg", "must be a plain http or https address"),
        ("http://127.0.0.1:{port}/photos/%2e%2e/private/a.jpg", "must be a plain http or https address"),
        ("http://127.0.0.1:{port}/photos/..%2fprivate/a.jpg", "must be a plain http or https address"),
        ("http://127.0.0.1:{port}@evil/photos/a.jpg", "must be a plain http or https address"),
        ("http://evil\\@127.0.0.1:{port}/photos/a.jpg", "must be a plain http or https address"),
        ("http://127.0.0.1:{port}/photos/a.jpg\r\nX: y", "must be a plain http or https address"),
        ("http://127.1:{port}/photos/a.jpg", "must lie under an address that this server allows"),
        ("http://[::ffff:127.0.0.1]:{port}/photos/a.jpg", "must lie under an address that this server allows"),
        ("https://127.0.0.1:{port}/photos/a.jpg", "must lie under an address that this server allows"),
        ("http://169.254.169.254/latest/meta-data/", "must lie under an address that this server allows"),
        ("file:///etc/passwd", "must be a plain http or https address"),
        ("gopher://127.0.0.1:{port}/photos", "must be a plain http or https address"),
        ("", "must be a plain http or https address"),
        ("http://localhost:{port}/photos/a.jpg", "must have public IP addresses only"),
    ],
)
def test_what_is_not_allowed_is_not_asked_for(world, path, part):
    server, port, seen = world
    seen.clear()
    answer = ask(server, path.replace("{port}", str(port)))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("instances[0].image.url")
    assert part in answer.json()["error"]
    assert not seen


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("out", "must lie under an address that this server allows"),
        ("other", "must have public IP addresses only"),
        ("file", "must be a plain http or https address"),
        ("loop", "at most 3 redirects are followed"),
        ("missing", "the photo cannot be fetched: status 404"),
        ("text", "must be a whole JPEG, PNG or WebP file"),
        ("endless", "must be at most 2097152 bytes"),
    ],
)
def test_what_answers_with_no_photo_is_refused(world, name, part):
    server, port, _ = world
    answer = ask(server, f"http://127.0.0.1:{port}/photos/a.jpg", f"http://127.0.0.1:{port}/photos/{name}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("instances[1].image.url")
    assert part in answer.json()["error"]
    assert "root:x" not in answer.text


def test_a_place_that_never_answers_is_given_up_at_the_caller_s_deadline(world, photo_b64):
    server, port, _ = world
    start = time.monotonic()
    body = {"instances": [{"image": {"url": f"http://127.0.0.1:{port}/photos/slow"}}]}
    answer = httpx.post(server.url + PREDICT, json=body, headers={"x-request-timeout-ms": "500"}, timeout=30)
    assert answer.status_code == 504
    assert time.monotonic() - start < 9  # ten seconds are the limit without a deadline
    good = {"instances": [{"image": {"b64": photo_b64}}]}
    assert httpx.post(server.url + PREDICT, json=good).status_code == 200


def test_without_the_option_no_address_is_fetched(server, photo):
    with web(photo) as (port, seen):
        answer = ask(server, f"http://127.0.0.1:{port}/a.jpg")
    assert (answer.status_code, seen) == (400, [])
    assert (
        answer.json()["error"] == "instances[0].image.url: this server fetches no photos; send the file itself as b64"
    )


@pytest.mark.parametrize(
    ("ip", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:1.1.1.1", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::101:101", True),
    ],
)
def test_private_addresses_in_every_dress(ip, public):
    assert is_public(ip) is public


@pytest.mark.parametrize(
    "prefix", ["nonsense", "ftp://a/", "http://", "http://a/../b", "http://a:0x50/", "http://a/#b"]
)
def test_an_allowed_address_must_be_one(prefix):
    with pytest.raises(InvalidInput, match="must be a plain http or https address"):
        read_address(prefix)
