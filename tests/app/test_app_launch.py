"""``python -m app`` from the outside: what it prints, where it listens, how it ends."""

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from tests.app.running import ROOT, running_app


def run_app(*arguments, **environ):
    command = [sys.executable, "-m", "app", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_prints_its_address_in_one_line_and_ends_clean(sig, tmp_path):
    with running_app(tmp_path) as app:
        assert app.first_line == f"App at {app.url}"
        page = httpx.get(app.url, trust_env=False)
        assert page.status_code == 200
        assert "html" in page.headers["content-type"]
        status, rest = app.stop(sig)
    assert status == 0
    assert rest.strip() in ("", "Stopping...")
    assert not list(tmp_path.iterdir())  # nothing is written where it was started


def test_it_listens_on_this_machine_only(tmp_path):
    with running_app(tmp_path) as app:
        port = int(app.url.rpartition(":")[2])
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", port))  # also this machine, but not the address that was bound


def test_a_port_in_use_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_app(HAKKA_APP_PORT=port)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"The app cannot listen on 127.0.0.1:{port}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        ((), {"HAKKA_APP_PORT": "eighty"}, "HAKKA_APP_PORT: a port must be a whole number"),
        (("--port", "70000"), {}, "cannot listen on 127.0.0.1:70000"),
        (("--host", "not.a.name.invalid"), {}, "cannot listen on not.a.name.invalid"),
    ],
)
def test_a_wrong_setting_is_one_sentence(arguments, environ, said):
    done = run_app(*arguments, **environ)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_shows_an_example():
    done = run_app("--help")
    assert done.returncode == 0
    assert "example: HAKKA_ENDPOINT=" in done.stdout
