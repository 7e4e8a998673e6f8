"""Steps are done by processes forked from one with the imports done, and by plain Python where that is gone."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import components
from pipelines import forkclient

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory() as name:  # short: the path of a socket may have some 100 letters
        yield Path(name)


@pytest.fixture
def server(folder):
    command = [sys.executable, "-m", "pipelines.forkserver", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "_KFP_RUNTIME": "true"}, stdin=subprocess.PIPE) as it:
        while forkclient.ask(folder, ["--nonsense"]) != b"s2":
            assert it.poll() is None
        yield it
        it.kill()


def run_client(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-I", "-S", forkclient.__file__, str(folder), sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_step_is_forked_while_there_is_a_server_and_plain_python_does_what_else_there_is(server, folder):
    assert run_client(folder, "-c", "print('plain')") == (0, "plain\n")
    forked = run_client(folder, *forkclient.EXECUTOR, "--nonsense")
    assert forked[0] == 2
    assert "the following arguments are required: --function_to_execute" in forked[1]
    server.kill()
    server.wait()
    assert forkclient.ask(folder, ["--nonsense"]) == b""
    plain = run_client(folder, *forkclient.EXECUTOR, "--nonsense")
    assert plain[0] == 2
    assert "--function_to_execute" in plain[1]


def test_what_it_calls_steps_are_steps():
    assert set(components.__all__) >= forkclient.HEAVY
