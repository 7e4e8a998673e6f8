"""More requests than the server can do: who is answered, who is refused, and that nobody is lost."""

import asyncio
import http.client
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hakka.errors import HakkaError
from serving.admission import Admission, Busy, Expired
from tests.serving.server import running_server
from tests.serving.tiny_model import AS_SLOW_AS_SAID, build_model_folder

PREDICT = "/v1/models/hakka:predict"
INFER = "/v2/models/hakka/infer"
WORKERS = 2  # one thread and the spare worker
PLACES = 2
ALL = WORKERS + PLACES
OPTIONS = ("--no-log", "--threads", "1", "--queue", str(PLACES), *AS_SLOW_AS_SAID)
HTTP = httpx.Client(timeout=120, limits=httpx.Limits(max_connections=None))  # making a client costs 30 ms


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory):
    return build_model_folder(tmp_path_factory.mktemp("model") / "slow", work=8)


@pytest.fixture(scope="module")
def slow(slow_model):
    with running_server("--model-dir", slow_model, *OPTIONS) as server:
        yield server


def metric(url: str, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(HTTP.get(f"{url}/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    raise AssertionError(f"no {name}")


def wait_for(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextmanager
def callers(server, photo_b64, count: int, path=INFER, instances=1):
    """So many requests in the server, sent one after the other; gives their (number, status) as answers come in."""
    body = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [photo_b64]}]}
    if path == PREDICT:
        body = {"instances": [{"image": {"b64": photo_b64}}] * instances}
    answers: list[tuple[int, httpx.Response]] = []

    def ask(number: int) -> None:
        answers.append((number, HTTP.post(server.url + path, json=body)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    try:
        for number, thread in enumerate(threads):
            thread.start()
            wait_for(lambda at=number: taken(server.url) + len(answers) >= at * instances + 1)
        yield answers
    finally:
        for thread in threads:
            thread.join(120)


def connect(server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def taken(url: str) -> float:
    return metric(url, "hakka_inflight") + metric(url, "hakka_queue_depth")


def test_beyond_the_queue_is_429_at_once_and_the_rest_is_answered_in_order(slow, photo_b64, photo):
    with callers(slow, photo_b64, ALL) as answers:
        assert not answers
        assert metric(slow.url, "hakka_queue_depth") == PLACES
        refused = HTTP.post(slow.url + PREDICT, json={"instances": [{"image": {"b64": photo_b64}}]})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "the queue is full" in refused.json()["error"]
        # Not even the body is waited for.
        with connect(slow) as connection:
            connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 429 ")
        # Neither health nor metadata nor metrics stand behind the photos.
        assert HTTP.get(f"{slow.url}/v2/health/ready").json() == {"ready": True}
        assert HTTP.get(f"{slow.url}/v2/models/hakka").status_code == 200
        assert not answers
    assert [answer.status_code for _, answer in answers] == [200] * ALL
    order = [number for number, _ in answers]
    assert set(order[:2]) <= {0, 1, 2}
    assert order.index(ALL - 1) >= ALL - 2
    assert metric(slow.url, "hakka_refused_total", reason="busy") == 2
    assert metric(slow.url, "hakka_queue_depth") == 0


def read_answer(stream) -> tuple[int, str | None]:
    """Status and connection header of the next answer on a connection."""
    status = int(stream.readline().split()[1])
    headers = http.client.parse_headers(stream)
    stream.read(int(headers["content-length"]))
    return status, headers["connection"]


def test_a_refused_request_leaves_its_connection_in_order(slow, photo_b64):
    post, size = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n", 3_000_000
    with callers(slow, photo_b64, ALL) as answers:
        with connect(slow) as connection, connection.makefile("rb") as stream:
            connection.sendall(f"{post}Content-Length: {size}\r\n\r\n".encode())
            assert read_answer(stream) == (429, None)
            # The body that nobody wanted is not taken for the next request; nor do many requests at once stop it.
            connection.sendall(b"x" * size + b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(stream) == (200, None)
            connection.sendall(f"{post}Content-Length: 2\r\n\r\n{{}}".encode() * 500)
            assert [read_answer(stream) for _ in range(500)] == [(429, None)] * 500
        with connect(slow) as connection, connection.makefile("rb") as stream:
            # An end before the body was read would reset the connection, and the answer could be lost.
            connection.sendall(f"{post}Connection: close\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
            assert (read_answer(stream), stream.read()) == ((429, "close"), b"")
        with connect(slow) as connection, connection.makefile("rb") as stream:
            # Its body may never come.
            connection.sendall(f"{post}Expect: 100-continue\r\nContent-Length: {size}\r\n\r\n".encode())
            assert read_answer(stream) == (429, "close")
        with connect(slow) as connection, connection.makefile("rb") as stream:
            # What is wrong with a body after the refusal ends the connection; a second answer is for nobody.
            connection.sendall(f"{post}Transfer-Encoding: chunked\r\n\r\n".encode())
            assert read_answer(stream) == (429, None)
            connection.sendall(b"no size\r\n")
            assert stream.read() == b""
        assert not answers


def test_photos_of_one_request_take_a_place_each(slow, photo_b64):
    body = {"instances": [{"image": {"b64": photo_b64}}] * (ALL + 1)}
    with callers(slow, photo_b64, WORKERS) as answers:
        assert HTTP.post(slow.url + PREDICT, json=body).status_code == 429
        assert not answers
    # With nobody before it the same request is taken, though it is longer than the queue.
    assert len(HTTP.post(slow.url + PREDICT, json=body).json()["predictions"]) == ALL + 1


def test_a_client_that_leaves_the_queue_costs_no_inference(slow, photo, photo_b64):
    def looked() -> float:
        return metric(slow.url, "hakka_stage_seconds_count", stage="decode")

    before, gone = looked(), metric(slow.url, "hakka_requests_total", outcome="gone", protocol="v2")
    with callers(slow, photo_b64, WORKERS):
        body = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [photo_b64]}]}
        request = HTTP.build_request("POST", slow.url + INFER, json=body)
        with connect(slow) as connection:
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            connection.sendall(f"POST {INFER} HTTP/1.1\r\n{head}\r\n".encode() + request.content)
            wait_for(lambda: metric(slow.url, "hakka_queue_depth") == 1)
        wait_for(lambda: metric(slow.url, "hakka_requests_total", outcome="gone", protocol="v2") == gone + 1)
        assert metric(slow.url, "hakka_queue_depth") == 0
    assert looked() == before + WORKERS
    assert not [line for line in slow.lines if "Traceback" in line]


def test_a_stop_answers_all_that_were_taken(slow_model, photo_b64):
    with running_server("--model-dir", slow_model, *OPTIONS) as server, callers(server, photo_b64, ALL) as answers:
        assert not answers
        assert server.stop(timeout=60) == 0
    assert [answer.status_code for _, answer in answers] == [200] * ALL


def test_a_deadline_that_passes_in_the_queue_is_504_and_costs_no_inference(slow, photo_b64):
    before = metric(slow.url, "hakka_stage_seconds_count", stage="decode")
    with callers(slow, photo_b64, WORKERS) as answers:
        body = {"instances": [{"image": {"b64": photo_b64}}]}
        late = HTTP.post(slow.url + PREDICT, json=body, headers={"X-Request-Timeout-Ms": "50"})
        assert late.status_code == 504
        assert "deadline" in late.json()["error"]
        assert not answers
    assert metric(slow.url, "hakka_stage_seconds_count", stage="decode") == before + WORKERS
    assert metric(slow.url, "hakka_requests_total", protocol="v1", outcome="expired") == 1


def drip(connection: socket.socket) -> None:
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.05)


def test_a_request_that_is_not_sent_in_time_is_408(model_dir, photo_b64):
    with running_server("--model-dir", model_dir, "--no-log", "--body-seconds", "1") as server:
        head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        chunked = head.replace("Content-Length: 1000", "Transfer-Encoding: chunked")
        requests = (head[:20], head, head + "\r\n{", chunked + "\r\n1\r\n{\r\n")
        connections = []
        for sent in requests:
            connections.append(connect(server))
            connections[-1].sendall(sent.encode())
        for connection, sent in zip(connections, requests, strict=True):
            with connection:
                answer = b"".join(iter(lambda c=connection: c.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 408 "), sent
            assert b"a request must be sent within 1 s" in answer
        # One that never says anything is let go without a word; a drip does not keep a connection alive.
        with connect(server) as connection:
            assert connection.recv(100) == b""
        with connect(server) as connection:
            connection.sendall(f"{head}\r\n".encode())
            with pytest.raises(OSError, match=r"reset|pipe"):
                drip(connection)
        assert metric(server.url, "hakka_refused_total", reason="slow_body") == 5
        body = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [photo_b64]}]}
        with httpx.Client() as client:
            assert client.post(server.url + INFER, json=body).status_code == 200
            time.sleep(1.2)  # an idle kept connection is not a slow request
            assert client.post(server.url + INFER, json=body).status_code == 200
        assert not [line for line in server.lines if "Traceback" in line]


def test_silent_connections_do_not_keep_others_out(model_dir):
    with running_server("--model-dir", model_dir, "--no-log", "--max-connections", "10") as server:
        silent = [connect(server) for _ in range(30)]
        try:
            assert HTTP.get(f"{server.url}/v2/health/live").json() == {"live": True}
            assert silent[0].recv(1) == b""  # the oldest had to go
        finally:
            for connection in silent:
                connection.close()


def in_a_loop(main):
    return asyncio.run(asyncio.wait_for(main, 30))


def test_a_deadline_that_passes_in_the_queue_is_said_before_its_turn_and_the_job_never_runs():
    admission, go, ran = Admission(workers=1, places=5), threading.Event(), []

    async def main():
        first = asyncio.create_task(admission.run([go.wait]))
        await asyncio.sleep(0)
        with pytest.raises(Expired):
            await admission.run([lambda: ran.append("late")], deadline=time.monotonic() + 0.05)
        with pytest.raises(Expired):
            await admission.run([lambda: ran.append("too late")], deadline=time.monotonic() - 1)
        assert admission.waiting == 0
        go.set()
        assert await first == [True]
        return await admission.run([lambda: "next"], deadline=time.monotonic() + 20)

    assert in_a_loop(main()) == ["next"]
    assert ran == []


def test_one_bad_photo_ends_its_request_and_gives_its_places_back():
    admission, ran = Admission(workers=1, places=5), []

    def fail():
        raise HakkaError("bad photo")

    async def main():
        with pytest.raises(HakkaError, match="bad photo"):
            await admission.run([fail, lambda: time.sleep(0.2), lambda: ran.append("rest")])
        while admission.running or admission.waiting:
            await asyncio.sleep(0.01)

    in_a_loop(main())
    assert ran == []


def test_retry_after_grows_with_the_queue():
    admission, go = Admission(workers=1, places=20), threading.Event()

    async def main():
        waits, tasks = [], []
        for _ in range(21):
            waits.append(admission.busy("full").retry_after)
            tasks.append(asyncio.create_task(admission.run([go.wait])))
            await asyncio.sleep(0)
        with pytest.raises(Busy, match="20 photos waiting") as busy:
            admission.check()
        waits.append(busy.value.retry_after)
        go.set()
        await asyncio.gather(*tasks)
        return waits

    waits = in_a_loop(main())
    assert waits[1:] == sorted(waits[1:])
    assert waits[-1] > 10 * waits[0]
