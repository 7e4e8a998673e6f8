"""Waiting for a server on this machine to serve a version."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hakka.deploy import deploy, local
from hakka.errors import InvalidInput, Unavailable

OLD, NEW = "0123456789ab", "ba9876543210"


class Server:
    """Answers the v2 metadata: ``answers`` in turn, the last one for ever."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, body = owner.answers.pop(0) if len(owner.answers) > 1 else owner.answers[0]
                if self.path != "/v2/models/hakka":
                    code, body = 404, b"{}"
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def start(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    servers = []

    def start(*answers):
        servers.append(Server(*answers))
        monkeypatch.setenv("HAKKA_ENDPOINT", servers[-1].endpoint)
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def metadata(version: str) -> tuple[int, bytes]:
    return 200, json.dumps({"name": "hakka", "versions": [version], "platform": "openvino"}).encode()


def test_a_server_that_has_switched(start):
    start(metadata(NEW))
    assert deploy(NEW) == "serving"


def test_a_server_that_still_switches_is_waited_for(start):
    server = start(metadata(OLD), metadata(OLD), metadata(NEW))
    assert deploy(NEW, target="local") == "serving"
    assert server.answers == [metadata(NEW)]


def test_a_server_that_stays_with_another_version(start):
    server = start(metadata(OLD))
    with pytest.raises(
        Unavailable, match=rf"{server.endpoint}: must serve version {NEW} within 0.1 s, still serves {OLD}"
    ):
        local.deploy(NEW, deadline=0.1)


def test_no_server(start):
    start(metadata(NEW)).close()
    assert deploy(NEW) == "not running: `hakka serve` will serve it"


@pytest.mark.parametrize(
    "answer", [(404, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b'{"versions": []}'), (500, b"")]
)
def test_something_else_on_the_port_is_not_our_server(start, answer):
    start(answer)
    assert deploy(NEW) == "not running: `hakka serve` will serve it"


def test_a_proxy_of_the_environment_is_not_asked(start, monkeypatch):
    start(metadata(NEW))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert deploy(NEW) == "serving"


@pytest.mark.parametrize("version", ["", "champion", "0123456789AB"])
def test_a_version_is_twelve_hex_digits(version):
    with pytest.raises(InvalidInput, match="version must be 12 hex digits"):
        deploy(version, target="local")


def test_targets_are_named():
    with pytest.raises(InvalidInput, match="target: must be one of auto, local, kubernetes, got 'moon'"):
        deploy(NEW, target="moon")
