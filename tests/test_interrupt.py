"""Ctrl-C while a verb is still being loaded: it ends with one line and code 130, and leaves nothing behind.

Python says every import as it happens, so a test knows where a process is without a look at the clock.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hakka.registry import promote
from tests.ports import free_port
from tests.processes import wait_until_gone
from tests.serving.tiny_model import build_model_folder, register_model

ROOT = Path(__file__).resolve().parents[1]
IMPORT = "import time:"
READY = "Serving hakka"


@pytest.fixture
def home(tmp_path):
    """A home with a champion."""
    registry = tmp_path / "home" / "registry"
    promote(registry, register_model(build_model_folder(tmp_path / "model"), registry))
    return tmp_path / "home"


def interrupt(home, module, count, *arguments):
    """Start ``hakka``, press Ctrl-C when a module is imported for the ``count``-th time; its code and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hakka", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "HAKKA_HOME": str(home),
            "HAKKA_PORT": str(free_port()),
            "HAKKA_APP_PORT": str(free_port()),
            "PYTHONPROFILEIMPORTTIME": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs may ignore it
    )
    try:
        seen = []
        for line in process.stdout:
            seen.append(line)
            count -= line.rpartition("|")[2].strip() == module
            if count == 0 or line.startswith(READY):
                break
        assert count == 0, "".join(seen[-20:])
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, [line for line in rest.splitlines() if not line.startswith(IMPORT)]


@pytest.mark.parametrize(
    ("arguments", "module", "count", "said"),
    [
        (("models",), "hakka.errors", 1, "error: interrupted"),
        # In the place of the verb a second interpreter starts.
        (("run", "--data", "sample"), "encodings", 2, "error: interrupted"),
        (("serve",), "encodings", 2, "serving: stopped before it was ready"),
        (("app",), "encodings", 2, "app: stopped before it was ready"),
        (("run", "--data", "sample"), "hakka.detector.train", 1, "error: interrupted"),
        (("serve",), "hakka.detector.decode", 1, "serving: stopped before it was ready"),
        (("serve",), "kserve", 1, "serving: stopped before it was ready"),
        (("serve",), "openvino.opset1", 1, "serving: stopped before it was ready"),
        (("app",), "click", 1, "app: stopped before it was ready"),
        (("up", "--data", "sample"), "hakka.launcher", 1, "error: interrupted"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_ctrl_c_while_a_verb_is_loaded_is_one_line(home, arguments, module, count, said):
    assert interrupt(home, module, count, *arguments) == (130, [said])
    wait_until_gone("HAKKA_HOME", home)


@pytest.mark.parametrize("module", ["hakka.settings", "kserve", "openvino.opset1"])
def test_ctrl_c_while_the_servers_are_loaded_stops_both(home, module):
    code, lines = interrupt(home, module, 2 if module == "hakka.settings" else 1, "up", "--no-run")
    assert code == 130
    assert "error: interrupted" in lines
    assert "Traceback" not in "".join(lines)
    wait_until_gone("HAKKA_HOME", home)
