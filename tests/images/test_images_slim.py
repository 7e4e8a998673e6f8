"""Endpoint, app and drift watch with nothing but what their images hold: their lock, less requirements/unused.txt."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest

from hakka.monitor import read_log, write_rows
from tests.images.test_images_locks import ROOT, read_lock
from tests.monitor.test_monitor_drift import NOW, make_rows, write_log
from tests.object_store import make_bucket, running_store, store_environment
from tests.serving.conftest import encode_photo
from tests.serving.server import running_server
from tests.serving.tiny_model import build_model_folder

SITE = Path(sysconfig.get_path("platlib"))
PATTERNS = [line for line in (ROOT / "requirements/unused.txt").read_text().splitlines() if line[:1] not in ("", "#")]


def matches(pattern: str) -> list[str]:
    """Paths below site-packages that slim.sh would take out here."""
    return [os.path.relpath(path, SITE) for path in SITE.glob(pattern)]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="wheels of other machines hold other files")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_taken_out_is_there(pattern):
    assert matches(pattern)


def link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # the temporary folder lies on another file system
        shutil.copy2(source, target)


def slim_python(environment: Path, lock: str) -> Path:
    """The interpreter of an environment like that of the image."""
    venv.create(environment, symlinks=True)
    site = Path(sysconfig.get_path("platlib", vars={"base": environment, "platbase": environment}))
    unused = {path for pattern in PATTERNS for path in matches(pattern)}
    thinned = {path.split("/")[0] for path in unused} - {".."}
    for package in read_lock(lock):
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:  # not for this machine, says the lock
            continue
        tops = {file.parts[0] for file in files} - {".."}
        for top in tops - thinned:  # in one piece: some packages have ten thousand files
            if (SITE / top).exists() and not (site / top).exists():
                (site / top).symlink_to(SITE / top)
        for file in files:
            parents = map(str, (file, *file.parents))
            if file.parts[0] in thinned and unused.isdisjoint(parents) and (SITE / file).is_file():
                link_or_copy(SITE / file, site / file)
    return environment / "bin" / "python"


def run(python: Path, code: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [python, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_endpoint_needs_no_more_than_its_image_holds(tmp_path, monkeypatch):
    python = slim_python(tmp_path / "environment", "serve")
    assert "No module named 'pandas'" in run(python, "import pandas").stderr  # the environment is closed
    build_model_folder(tmp_path / "tiny")
    (tmp_path / "photo.jpg").write_bytes(encode_photo())
    with ExitStack() as stack:
        for name, value in store_environment(stack.enter_context(running_store())).items():
            monkeypatch.setenv(name, value)
        make_bucket("logs")
        options = ("--model-dir", tmp_path / "tiny", "--log", "s3://logs/hakka", "--keep-images", "1")
        server = stack.enter_context(running_server(*options, "--grpc-port", "0", python=python))
        addresses = {"http": server.url.removeprefix("http://")}
        addresses["grpc"] = next(line.rsplit(" ", 1)[1] for line in server.lines if "gRPC at" in line)
        for transport, address in addresses.items():
            client = [sys.executable, "-m", "tests.serving.triton_client", transport, address, tmp_path / "photo.jpg"]
            subprocess.run(client, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=60)
        assert {httpx.get(server.url + path).status_code for path in ("/metrics", "/openapi.json")} == {200}
        assert server.stop() == 0
        assert not [line for line in server.lines if "Traceback" in line]
        assert len(read_log("s3://logs/hakka"))


WATCH = """
import sys
from datetime import datetime
from pathlib import Path
from hakka.monitor.drift import watch
reference, log, out, now = sys.argv[1:]
print(watch(Path(reference), Path(log), Path(out), now=datetime.fromisoformat(now))["answer"])
"""


def test_the_drift_watch_needs_no_more_than_its_image_holds(tmp_path):
    random = np.random.default_rng(3)
    write_rows(tmp_path / "reference.parquet", make_rows(40, random))
    write_log(tmp_path / "log", make_rows(120, random, darker=60))
    python = slim_python(tmp_path / "environment", "monitor")
    done = run(python, WATCH, tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out", NOW.isoformat())
    assert done.stdout == "drifted\n", done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


START = """
import pydeck
from streamlit.testing.v1 import AppTest
print(AppTest.from_file("app/Home.py", default_timeout=60).run().exception)
"""


def test_the_app_needs_no_more_than_its_image_holds(tmp_path):
    done = run(slim_python(tmp_path / "environment", "app"), START)
    assert done.stdout == "ElementList()\n", done.stderr
