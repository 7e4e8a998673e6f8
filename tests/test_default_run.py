"""The default run from end to end, as ``make run`` does it: sample, starter, and the figures of the README.

It runs with the network refused and every attempt recorded: there must be none.
"""

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from PIL import Image, ImageEnhance

from hakka.data.sample import JPEG_QUALITY, draw_scene, load_cutouts
from tests.serving.server import running_server

ROOT = Path(__file__).resolve().parents[1]
GUARD = Path(__file__).resolve().parent / "network_guard"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A home where nothing was kept by any library."""
    home = tmp_path_factory.mktemp("default") / "home"
    home.mkdir()
    return {**os.environ, "HAKKA_HOME": str(home), "HOME": str(home), "HAKKA_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def guarded(environment, tmp_path_factory):
    """That home, and a file with a line for each attempt to leave this machine, which is refused."""
    record = tmp_path_factory.mktemp("guard") / "record"
    record.touch()
    path = os.pathsep.join([str(GUARD), str(ROOT)])
    return {**environment, "PYTHONPATH": path, "HAKKA_NETWORK_RECORD": str(record)}, record


def _python(environment, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580
    )


def _hakka(environment, *arguments):
    return _python(environment, "-m", "hakka", *arguments)


@pytest.fixture(scope="module")
def first(guarded):
    done = _hakka(guarded[0], "run", "--data", "sample", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_no_step_looks_for_the_network(first, guarded):
    environment, record = guarded
    assert record.read_text() == ""
    code = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/', timeout=1)"
    assert "network guard" in _python(environment, "-c", code).stderr, "the guard must see what leaves the machine"
    assert "192.0.2.1" in record.read_text()


def test_it_ends_with_a_promoted_detector_that_is_good_enough(first):
    assert first["decision"] == "promote"
    assert first["metrics"]["map50"] >= 0.85
    assert first["counts"]["images"] + first["counts"]["refused_images"] == 240
    assert Path(first["paths"]["report"]).is_file()


def test_no_test_image_is_like_a_training_image(first):
    checks = json.loads(Path(first["paths"]["validation"]).with_name("report.json").read_text())["checks"]
    leakage = next(check for check in checks if check["name"] == "split_leakage")
    assert leakage["severity"] == "error"
    assert leakage["passed"]


def test_it_leaves_a_clearml_session_for_a_later_import(first):
    clearml = json.loads((Path(first["paths"]["run"]) / "run.json").read_text())["clearml"]
    assert clearml["mode"] == "offline"
    with ZipFile(clearml["session"]) as session:
        assert "task.json" in session.namelist()


def test_a_second_run_reuses_what_it_may_and_says_so(environment, first):
    done = _hakka(environment, "run", "--data", "sample", "--json")
    assert done.returncode == 0, done.stderr
    for step in ("convert", "validate", "train", "export", "evaluate"):
        assert f"{step}: reused from an earlier run" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["version"] == first["version"]


def test_the_watch_tells_the_usual_photos_from_dark_ones(environment, first, tmp_path):
    photos = [_new_photo(number) for number in range(120)]
    usual = _serve_and_watch(environment, tmp_path / "usual", photos)
    dark = _serve_and_watch(environment, tmp_path / "dark", [_darken(photo) for photo in photos])
    assert usual.returncode == 0, usual.stdout
    assert dark.returncode == 1
    answer = json.loads(dark.stdout)
    assert answer["version"] == first["version"]
    assert answer["columns"]["brightness"]["drifted"]
    assert Path(answer["report"]).stat().st_size > 100_000


def _new_photo(number):
    buffer = io.BytesIO()
    draw_scene(load_cutouts(), 77, number, 416).image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _darken(photo):
    buffer = io.BytesIO()
    ImageEnhance.Brightness(Image.open(io.BytesIO(photo))).enhance(0.4).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _serve_and_watch(environment, log, photos):
    with (
        running_server("--log", log, env={"HAKKA_HOME": environment["HAKKA_HOME"]}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        for photo in photos:
            instance = {"image": {"b64": base64.b64encode(photo).decode()}}
            client.post("/v1/models/hakka:predict", json={"instances": [instance]}).raise_for_status()
        assert server.stop() == 0
    return _hakka(environment, "monitor", "--log", str(log), "--json")
