"""The prediction log in an object store: a real S3 server on loopback, also while it is away."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hakka.errors import InvalidInput, Unavailable
from hakka.monitor import PredictionLog, read_log, row
from hakka.monitor.merging import merge_day
from hakka.monitor.storage import open_storage
from hakka.monitor.upkeep import remove_old_days
from tests.object_store import forget_stores, make_bucket, running_store, store_environment
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAYS = ["2026-03-03", "2026-03-04"]


def make_row(name, when=NOW):
    features = {"width": 1, "height": 1, "brightness": 1, "blur": 1}
    return row(version="v", features=features, boxes=[], classes=[], confidences=[], prediction_id=name, time=when)


@pytest.fixture(scope="module")
def endpoint():
    with running_store() as address:
        yield address


@pytest.fixture
def url(endpoint, monkeypatch, tmp_path):
    """A place under which nothing lies yet."""
    for name, value in store_environment(endpoint).items():
        monkeypatch.setenv(name, value)
    make_bucket("logs")
    return f"s3://logs/{tmp_path.name}"


def test_a_log_in_an_object_store_is_written_read_merged_and_rotated(url):
    assert len(read_log(url)) == 0
    for names in ("ab", "c"):
        with PredictionLog(url) as log:
            for name in names:
                log.append(make_row(name))
            log.append(make_row(f"{names} before", NOW - timedelta(days=1)))
        assert (log.written, log.dropped) == (len(names) + 1, 0)
    storage = open_storage(url)
    assert storage.days() == DAYS
    merge_day(storage, DAYS[1])
    [merged] = storage.files(DAYS[1])
    assert merged.startswith("whole-")
    assert sorted(read_log(url)["prediction_id"]) == ["a", "ab before", "b", "c", "c before"]
    assert sorted(read_log(url, NOW - timedelta(hours=1))["prediction_id"]) == ["a", "b", "c"]
    remove_old_days(storage, 1, NOW.date())
    assert storage.days() == DAYS[1:]


WITHOUT_S3FS = """
import sys; sys.modules['s3fs'] = None
from datetime import UTC, datetime
from hakka.monitor import PredictionLog, read_log, row
from hakka.monitor.merging import merge_day
from hakka.monitor.storage import open_storage
values = dict(version="v", features=dict(width=1, height=1, brightness=1, blur=1), boxes=[], classes=[], confidences=[])
url = sys.argv[1]
for name in "ab":
    with PredictionLog(url) as log:
        log.append(row(**values, prediction_id=name))
storage = open_storage(url)
[day] = storage.days()
merge_day(storage, day)
print(sorted(read_log(url)["prediction_id"]), [name[:5] for name in storage.files(day)])
storage.remove_day(day)
print(len(read_log(url)))
"""


def test_the_serve_image_has_no_s3fs_and_does_the_same(url):
    done = subprocess.run([sys.executable, "-c", WITHOUT_S3FS, url], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['a', 'b'] ['whole']", "0"]


def test_rows_wait_in_memory_until_the_store_is_back(monkeypatch):
    port = free_port()
    for name, value in store_environment(f"http://127.0.0.1:{port}").items():
        monkeypatch.setenv(name, value)
    forget_stores()
    log = PredictionLog("s3://logs/away", rows=2, capacity=4, retry=0.1)
    for _ in range(2):
        log.append(make_row("x"))
    deadline = time.monotonic() + 60
    while not log._refused and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(10):
        log.append(make_row("x"))
    assert log.waiting == 4
    assert log.dropped == 8
    with running_store(port):
        make_bucket("logs")
        deadline = time.monotonic() + 60
        while log.waiting and time.monotonic() < deadline:
            time.sleep(0.05)
        log.close()
        assert (log.written, log.dropped) == (4, 8)
        assert len(read_log("s3://logs/away")) == 4


def test_a_store_that_is_away_does_not_hold_up_the_end(monkeypatch):
    for name, value in store_environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    forget_stores()
    log = PredictionLog("s3://logs/gone", rows=1, retry=600)
    for _ in range(3):
        log.append(make_row("x"))
    log.close()
    assert (log.written, log.dropped) == (0, 3)
    with pytest.raises(Unavailable, match="s3://logs/gone cannot be reached"):
        read_log("s3://logs/gone")


def test_an_unknown_kind_of_url_is_refused_at_once():
    with pytest.raises(InvalidInput, match="nosuch://bucket"):
        PredictionLog("nosuch://bucket")
