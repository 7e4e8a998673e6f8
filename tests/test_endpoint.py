"""What the app says when the other side is not there, not ready or not Hakka: real sockets that misbehave."""

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hakka.endpoint import DEFAULT_CONFIDENCE, Endpoint
from hakka.errors import InvalidInput, Unavailable


@contextmanager
def answering(status: int, body: bytes):
    """The address of a server that answers everything with ``status`` and ``body``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_endpoint_that_is_down_is_told_with_the_command_that_starts_it():
    with socket.socket() as held:  # bound but not listening: nothing can answer there
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"^The detector at {url} does not answer: start it with `make serve`"):
            Endpoint(url).detect(b"photo", 0.05)


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1:1", "http://[::1", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_a_sentence(url):
    with pytest.raises(Unavailable, match="does not answer"):
        Endpoint(url).model()


def test_an_endpoint_that_never_answers_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unavailable, match="took too long to answer"):
            Endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3).model()


def test_a_proxy_of_the_environment_never_sees_the_photo(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with answering(200, b'{"versions": ["3fa9c1d20b77"]}') as url:
        assert Endpoint(url).model().version == "3fa9c1d20b77"


@pytest.mark.parametrize(
    ("parameters", "confidence"),
    [
        ({"thresholds": {"confidence": 0.4, "iou": 0.7}}, 0.4),
        ({"thresholds": None}, DEFAULT_CONFIDENCE),
        ({"thresholds": {"confidence": "high"}}, DEFAULT_CONFIDENCE),
        ({"thresholds": {"confidence": 25}}, DEFAULT_CONFIDENCE),
        (None, DEFAULT_CONFIDENCE),
    ],
)
def test_the_model_s_threshold_is_used_where_it_is_one(parameters, confidence):
    with answering(200, json.dumps({"versions": ["3fa9c1d20b77"], "parameters": parameters}).encode()) as url:
        assert Endpoint(url).model().confidence == confidence


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (400, "instances[0].image.b64 must not be empty, got 0 bytes", "The photo must not be empty, got 0 bytes"),
        (400, "instances[0].confidence must be a number", "instances[0].confidence must be a number"),
        (413, "the body must be at most 1024 bytes", "the body must be at most 1024 bytes"),
    ],
)
def test_a_refused_photo_is_told_in_the_endpoint_s_words(status, error, told):
    with answering(status, json.dumps({"error": error}).encode()) as url, pytest.raises(InvalidInput) as refusal:
        Endpoint(url).detect(b"photo", 0.05)
    assert str(refusal.value) == told


@pytest.mark.parametrize(
    ("status", "said"),
    [(503, "Model hakka is not ready"), (429, "the queue is full with 8 photos waiting; try again in 0.4 s")],
)
def test_an_endpoint_that_cannot_answer_is_told_in_its_words(status, said):
    refusal = json.dumps({"error": said}).encode()
    with answering(status, refusal) as url, pytest.raises(Unavailable, match=f"could not answer: {said}"):
        Endpoint(url).detect(b"photo", 0.05)


THREE_CORNERS = {
    "prediction_id": "a",
    "model_version": "b",
    "image": {"width": 9, "height": 9},
    "detections": [{"box": [1, 2, 3], "name": "tomato", "confidence": 0.5}],
}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>welcome</html>"),
        (200, b"[]"),
        (200, b'{"predictions": []}'),
        (200, b'{"predictions": [{"detections": 3}]}'),
        (200, b'{"predictions": [0.1, 0.9]}'),
        (200, json.dumps({"predictions": [THREE_CORNERS]}).encode()),
        (302, b""),
        (404, b"Not Found"),
        (500, b"\xff\xfe"),
    ],
)
def test_another_server_at_that_address_is_told_apart(status, body):
    with answering(status, body) as url, pytest.raises(Unavailable, match=r"is not a Hakka detector.*HAKKA_ENDPOINT"):
        Endpoint(url).detect(b"photo", 0.05)
