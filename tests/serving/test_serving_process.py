"""Starting, switching versions and stopping the real process."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from hakka.monitor import SCHEMA, read_log
from hakka.registry import promote
from tests.serving.server import ROOT, running_server
from tests.serving.tiny_model import AS_SLOW_AS_SAID, FOUND, build_model_folder, register_model

PREDICT = "/v1/models/hakka:predict"
PHOTOS = 8


def start_and_fail(*arguments, env=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "serving", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=60
    )


def wait_for(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not (result := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return result


def cpu_ticks(server) -> int:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().split()
    return int(fields[13]) + int(fields[14])


def test_a_taken_port_is_said_in_one_sentence(model_dir):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = start_and_fail("--model-dir", model_dir, "--port", port)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"serving: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_an_empty_registry_is_said_in_one_sentence(tmp_path):
    done = start_and_fail("--registry", tmp_path / "registry", "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "champion" in done.stderr


def test_a_model_that_was_changed_is_not_served(tmp_path):
    folder = build_model_folder(tmp_path / "model")
    with (folder / "model.bin").open("ab") as file:
        file.write(b"more")
    done = start_and_fail("--model-dir", folder, "--port", "0")
    assert done.returncode == 2
    assert "model.bin" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--port", "70000"], "a port must be a whole number from 0 to 65535, got '70000'"),
        (["--max-body-mib", "0"], "must be a whole number from 1, got '0'"),
        (["--http_port", "80"], "unrecognized arguments: --http_port 80"),
        (["--queue", "0"], "argument --queue: must be a whole number from 1, got '0'"),
        (["--batch", "many"], "argument --batch: must be a whole number from 1, got 'many'"),
        (["--engine", "torch"], "argument --engine: invalid choice: 'torch'"),
    ],
)
def test_a_wrong_command_line_is_exit_2(arguments, part):
    done = start_and_fail(*arguments)
    assert done.returncode == 2
    assert part in done.stderr


def test_a_wrong_port_in_the_environment_is_exit_2():
    done = start_and_fail(env={"HAKKA_PORT": "eighty"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "HAKKA_PORT" in done.stderr


def test_settings_give_the_defaults(tmp_path, model_dir, photo_b64):
    with running_server("--model-dir", model_dir, env={"HAKKA_HOME": str(tmp_path)}) as server:
        httpx.post(server.url + PREDICT, json={"instances": [{"image": {"b64": photo_b64}}]})
        assert server.stop() == 0
    assert len(read_log(tmp_path / "predictions")) == 1


def test_no_training_library_is_imported(model_dir, photo_b64):
    with running_server("--model-dir", model_dir, "--no-log", env={"PYTHONPROFILEIMPORTTIME": "1"}) as server:
        httpx.post(server.url + PREDICT, json={"instances": [{"image": {"b64": photo_b64}}]}).raise_for_status()
        server.stop()
    imported = {
        line.rsplit("|", 1)[1].strip().split(".")[0] for line in server.lines if line.startswith("import time:")
    }
    assert {"kserve", "openvino", "numpy"} <= imported
    assert not imported & {
        "torch",
        "torchvision",
        "ultralytics",
        "tensorflow",
        "kfp",
        "streamlit",
        "clearml",
        "evidently",
    }


def test_every_answer_leaves_one_row_and_refusals_leave_none(tmp_path, model_dir, photo_b64):
    with running_server("--model-dir", model_dir, "--log", tmp_path) as server:
        answers = []
        for _ in range(3):
            body = {"instances": [{"image": {"b64": photo_b64}}, {"image": {"b64": photo_b64}, "confidence": 0.7}]}
            answers += httpx.post(server.url + PREDICT, json=body).json()["predictions"]
        refused = {"instances": [{"image": {"b64": photo_b64}}, {"image": {"b64": "AAAA"}}]}
        assert httpx.post(server.url + PREDICT, json=refused).status_code == 400
        assert server.stop(signal.SIGINT) == 0
        assert not [line for line in server.lines if "Traceback" in line]
    rows = read_log(tmp_path)
    assert list(rows.columns) == SCHEMA.names
    assert set(rows["prediction_id"]) == {answer["prediction_id"] for answer in answers}
    assert len(rows) == 6
    row = rows[rows["prediction_id"] == answers[0]["prediction_id"]].iloc[0]
    assert (row["width"], row["height"], list(row["classes"])) == (128, 128, ["apple", "banana"])
    assert [list(box) for box in row["boxes"]] == [found["box"] for found in answers[0]["detections"]]
    assert row["latency_ms"] > 0
    assert row["version"] == answers[0]["model_version"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_mid_request_loses_neither_answer_nor_row(tmp_path, photo_b64, number):
    body = {"instances": [{"image": {"b64": photo_b64}}] * PHOTOS}
    slow = build_model_folder(tmp_path / "slow", work=4)  # seconds for all of them
    with running_server("--model-dir", slow, "--log", tmp_path / "log", *AS_SLOW_AS_SAID) as server:
        answers = []
        caller = threading.Thread(
            target=lambda: answers.append(httpx.post(server.url + PREDICT, json=body, timeout=60))
        )
        caller.start()
        start = cpu_ticks(server)
        wait_for(lambda: cpu_ticks(server) > start + 15)
        # The event loop is free while the photos are looked at.
        assert httpx.get(f"{server.url}/v2/health/live", timeout=60).status_code == 200
        assert not answers
        assert server.stop(number) == 0
        caller.join(10)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/v2/health/live", timeout=5)
    assert [answer.status_code for answer in answers] == [200]
    assert len(answers[0].json()["predictions"]) == PHOTOS
    assert len(read_log(tmp_path / "log")) == PHOTOS


def test_a_new_version_takes_over_without_a_lost_request(tmp_path, photo_b64):
    registry = tmp_path / "registry"
    old = register_model(build_model_folder(tmp_path / "old"), registry)
    new = register_model(build_model_folder(tmp_path / "new", FOUND[:1]), registry)
    promote(registry, old)
    with running_server("--registry", registry, "--no-log") as server, httpx.Client() as client:
        seen, statuses = [], set()

        def ask() -> str:
            answer = client.post(server.url + PREDICT, json={"instances": [{"image": {"b64": photo_b64}}]})
            statuses.add(answer.status_code)
            [prediction] = answer.json()["predictions"]
            seen.append((prediction["model_version"], len(prediction["detections"])))
            return prediction["model_version"]

        assert ask() == old
        promote(registry, new)
        wait_for(lambda: ask() == new)
        assert client.get(f"{server.url}/v2/models/hakka").json()["versions"] == [new]
    assert statuses == {200}
    assert set(seen) == {(old, 2), (new, 1)}
    assert seen == sorted(seen, key=lambda pair: pair[0] == new)  # never back to the old one


def test_a_link_that_moves_switches_and_a_broken_version_does_not(tmp_path, photo_b64):
    build_model_folder(tmp_path / "old")
    build_model_folder(tmp_path / "new", FOUND[:1])
    broken = build_model_folder(tmp_path / "broken", FOUND[1:])
    (broken / "model.xml").write_text("<net/>")
    link = tmp_path / "link"

    def point(name: str) -> None:
        (tmp_path / "next").symlink_to(tmp_path / name)
        (tmp_path / "next").rename(link)

    point("old")
    with running_server("--model-dir", link, "--no-log") as server:

        def found() -> int:
            answer = httpx.post(server.url + PREDICT, json={"instances": [{"image": {"b64": photo_b64}}]})
            return len(answer.json()["predictions"][0]["detections"])

        assert found() == 2
        point("broken")
        warning = wait_for(lambda: [line for line in server.lines if "cannot be served" in line])
        assert "model.xml" in warning[0]
        assert found() == 2
        point("new")
        wait_for(lambda: found() == 1)
        assert len([line for line in server.lines if "cannot be served" in line]) == 1


def test_a_version_that_was_refused_is_served_once_its_folder_is_whole(tmp_path, photo_b64):
    build_model_folder(tmp_path / "old")
    late = build_model_folder(tmp_path / "late", FOUND[:1])
    graph = (late / "model.xml").read_bytes()
    (late / "model.xml").write_bytes(graph[:100])
    (tmp_path / "link").symlink_to(tmp_path / "old")
    with running_server("--model-dir", tmp_path / "link", "--no-log") as server, httpx.Client() as client:
        (tmp_path / "next").symlink_to(late)
        (tmp_path / "next").rename(tmp_path / "link")
        wait_for(lambda: [line for line in server.lines if "cannot be served" in line])
        (late / "model.xml").write_bytes(graph)
        wait_for(lambda: [line for line in server.lines if "now" in line])
        answer = client.post(server.url + PREDICT, json={"instances": [{"image": {"b64": photo_b64}}]})
        assert len(answer.json()["predictions"][0]["detections"]) == 1


def test_a_server_that_has_switched_still_ends_cleanly(tmp_path):
    registry = tmp_path / "registry"
    first = register_model(build_model_folder(tmp_path / "one"), registry)
    second = register_model(build_model_folder(tmp_path / "two", found=((4, 4, 20, 20, 0.8, 2),)), registry)
    promote(registry, first)
    with running_server("--registry", registry, "--no-log") as server:
        promote(registry, second)
        wait_for(lambda: second in httpx.get(f"{server.url}/v2/models/hakka").text)
        assert server.stop() == 0
