"""``hakka up``: both servers as real processes, stopped together, with nothing left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from hakka.registry import promote
from tests.ports import free_port
from tests.serving.tiny_model import build_model_folder, register_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def environment(tmp_path):
    return {
        **os.environ,
        "HAKKA_HOME": str(tmp_path / "home"),
        "HAKKA_PORT": str(free_port()),
        "HAKKA_APP_PORT": str(free_port()),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def champion(tmp_path):
    registry = tmp_path / "home" / "registry"
    version = register_model(build_model_folder(tmp_path / "model"), registry)
    promote(registry, version)
    return version


@contextlib.contextmanager
def _up(environment, *options):
    process = subprocess.Popen(
        [sys.executable, "-m", "hakka", "up", *options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _read_until(process, words):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


def _children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_gone(pids):
    deadline = time.monotonic() + 60
    while any(map(_alive, pids)):
        assert time.monotonic() < deadline, "a server is still there"
        time.sleep(0.1)


def test_both_addresses_answer_and_ctrl_c_stops_both(environment, champion):
    with _up(environment, "--no-run") as process:
        said = "".join(_read_until(process, "Ctrl-C stops both"))
        endpoint = f"http://127.0.0.1:{environment['HAKKA_PORT']}"
        app = f"http://127.0.0.1:{environment['HAKKA_APP_PORT']}"
        assert said.count(endpoint) == 2, "the endpoint also says what it serves"
        assert said.count(app) == 1
        assert champion in httpx.get(f"{endpoint}/v2/models/hakka").text
        assert httpx.get(app).status_code == 200
        servers = _children(process.pid)
        assert len(servers) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        _wait_gone(servers)


def test_a_launcher_that_is_killed_takes_its_servers_along(environment, champion):
    with _up(environment, "--no-run") as process:
        _read_until(process, "Ctrl-C stops both")
        servers = _children(process.pid)
        process.kill()
        process.wait()
        _wait_gone(servers)


def test_a_server_that_ends_by_itself_ends_the_rest_with_a_sentence(environment, champion):
    with _up(environment, "--no-run") as process:
        _read_until(process, "Ctrl-C stops both")
        servers = _children(process.pid)
        os.kill(servers[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 2
        assert "ended by itself" in output
        assert "Traceback" not in output
        _wait_gone(servers)


@pytest.mark.parametrize("name", ["HAKKA_PORT", "HAKKA_APP_PORT"])
def test_a_port_in_use_is_said_before_anything_is_trained(environment, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment[name])))
        taken.listen()
        with _up(environment) as process:
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert output.count("\n") == 1
    assert environment[name] in output
    assert name in output


def test_without_a_champion_there_is_nothing_to_serve(environment):
    with _up(environment, "--no-run") as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "hakka run" in output
    assert output.count("\n") == 1
