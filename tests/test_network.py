"""The whole pipeline with the network refused and every attempt recorded: there must be none."""

import json
import os
import subprocess
import sys
from pathlib import Path

from hakka.data.sample import write_sample

ROOT = Path(__file__).resolve().parents[1]
GUARD = Path(__file__).resolve().parent / "network_guard"


def _guarded(record, home, *command):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(GUARD), str(ROOT)]),
        "HAKKA_NETWORK_RECORD": str(record),
        "HAKKA_HOME": str(home),
        "HOME": str(home),
        "HAKKA_ENDPOINT": "http://127.0.0.1:9",
    }
    return subprocess.run(
        [sys.executable, *command], cwd=home.parent, env=environment, capture_output=True, text=True, timeout=500
    )


def test_the_guard_sees_what_leaves_the_machine(tmp_path):
    (tmp_path / "home").mkdir()
    code = """
import urllib.request
try:
    urllib.request.urlopen("http://192.0.2.1/", timeout=1)
except OSError as error:
    print(error)
"""
    done = _guarded(tmp_path / "record", tmp_path / "home", "-c", code)
    assert "network guard" in done.stdout
    assert "192.0.2.1" in (tmp_path / "record").read_text()


def test_no_step_of_the_pipeline_looks_for_the_network(tmp_path):
    write_sample(tmp_path / "photos", images=16, size=96)
    options = ("--epochs", "1", "--imgsz", "64", "--batch", "8", "--weights", "starter", "--device", "cpu", "--json")
    done = _guarded(
        tmp_path / "record", tmp_path / "home", "-m", "hakka", "run", "--data", str(tmp_path / "photos"), *options
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode in (0, 1), done.stderr  # a tiny model may stay under the gate's floor; every step ran
    assert answer["decision"] in ("promote", "keep")
    assert answer["metrics"]["images"] > 0
    seen = (tmp_path / "record").read_text() if (tmp_path / "record").exists() else ""
    assert seen == ""
