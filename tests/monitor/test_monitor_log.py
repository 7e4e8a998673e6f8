"""The prediction log on a real disk: whole files, bounded loss, and nothing that stops a prediction."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from hakka.errors import InvalidInput
from hakka.monitor import SCHEMA, PredictionLog, read_log, read_rows, row, write_rows

FEATURES = {"width": 640, "height": 480, "brightness": 101.5, "blur": 33.25}


def make_row(**changes):
    values = {"version": "0123456789ab", "features": FEATURES, "boxes": [(1, 2, 3, 4)], "classes": ["apple"]}
    return row(**{**values, "confidences": [0.75], "latency_ms": 12.5, **changes})


def test_row_comes_back_as_it_was_written(tmp_path):
    time_ = datetime(2026, 3, 4, 23, 59, tzinfo=UTC)
    with PredictionLog(tmp_path / "log") as log:
        log.append(make_row(prediction_id="p1", time=time_))
        log.append(
            make_row(prediction_id="p2", time=time_ + timedelta(minutes=2), boxes=[], classes=[], confidences=[])
        )
    assert sorted(path.parent.name for path in (tmp_path / "log").glob("*/part-*.parquet")) == [
        "2026-03-04",
        "2026-03-05",
    ]
    frame = read_log(tmp_path / "log")
    assert list(frame) == SCHEMA.names
    first, second = frame.to_dict("records")
    assert (first["prediction_id"], first["time"], first["latency_ms"]) == ("p1", time_, 12.5)
    assert (first["width"], first["brightness"], first["blur"]) == (640, 101.5, 33.25)
    assert [list(box) for box in first["boxes"]] == [[1, 2, 3, 4]]
    assert (list(first["classes"]), list(first["confidences"])) == (["apple"], [0.75])
    assert (second["prediction_id"], list(second["boxes"])) == ("p2", [])
    assert (log.written, log.dropped) == (2, 0)


def test_reference_file_has_the_log_columns(tmp_path):
    write_rows(tmp_path / "reference.parquet", [make_row(latency_ms=None)])
    assert pq.read_schema(tmp_path / "reference.parquet").equals(SCHEMA)
    assert list(read_rows(tmp_path / "reference.parquet")["version"]) == ["0123456789ab"]


def test_colours_are_kept_and_files_without_them_are_read(tmp_path):
    colours = {"red": 200.0, "green": 60.0, "blue": 40.0, "saturation": 204.0}
    write_rows(tmp_path / "new.parquet", [make_row(features={**FEATURES, **colours}), make_row()])
    first, second = read_rows(tmp_path / "new.parquet").to_dict("records")
    assert {name: first[name] for name in colours} == colours
    assert all(second[name] != second[name] for name in colours)
    old = pq.read_table(tmp_path / "new.parquet").drop_columns(list(colours))
    day = tmp_path / "log" / "2026-03-04"
    day.mkdir(parents=True)
    pq.write_table(old, day / "part-old.parquet")
    frame = read_log(tmp_path / "log")
    assert list(frame) == SCHEMA.names
    assert len(frame) == 2
    assert frame["red"].isna().all()
    pq.write_table(old.drop_columns(["blur"]), tmp_path / "broken.parquet")
    with pytest.raises(InvalidInput, match="not a prediction log file"):
        read_rows(tmp_path / "broken.parquet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"width": 1, "height": 1, "blur": 0}}, "brightness is missing"),
        ({"classes": []}, "as many boxes as classes as confidences, got 1, 0 and 1"),
    ],
)
def test_row_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(InvalidInput, match=message):
        make_row(**changes)


def test_since_leaves_out_older_rows(tmp_path):
    now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    with PredictionLog(tmp_path) as log:
        for hours in (0, 1, 24, 25, 100):
            log.append(make_row(prediction_id=str(hours), time=now - timedelta(hours=hours)))
    assert list(read_log(tmp_path, now - timedelta(hours=24))["prediction_id"]) == ["24", "1", "0"]


def test_folder_without_log_holds_no_rows(tmp_path):
    assert len(read_log(tmp_path / "none")) == 0


def test_unreadable_file_is_skipped_by_name_and_files_in_the_making_are_not_seen(tmp_path, caplog):
    with PredictionLog(tmp_path) as log:
        log.append(make_row())
    (whole,) = tmp_path.glob("*/part-*.parquet")
    (whole.parent / "part-torn.parquet").write_bytes(whole.read_bytes()[:300])
    (whole.parent / ".part-new.parquet.x1").write_bytes(b"half")
    assert len(read_log(tmp_path)) == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "part-torn.parquet" in caplog.text


@pytest.mark.parametrize(("limits", "rows"), [({"rows": 2, "seconds": 60}, 2), ({"seconds": 0.1}, 1)])
def test_rows_or_seconds_close_a_file(tmp_path, limits, rows):
    log = PredictionLog(tmp_path, **limits)
    for _ in range(rows):
        log.append(make_row())
    deadline = time.monotonic() + 60
    while log.written < rows and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [pq.read_metadata(path).num_rows for path in tmp_path.glob("*/part-*.parquet")] == [rows]
    log.close()


def test_row_of_a_wrong_shape_costs_only_itself(tmp_path, caplog):
    with PredictionLog(tmp_path) as log:
        for values in (make_row(prediction_id="a"), {**make_row(), "width": "wide"}, make_row(prediction_id="b")):
            log.append(values)
    assert list(read_log(tmp_path)["prediction_id"]) == ["a", "b"]
    assert (log.written, log.dropped) == (2, 1)
    assert "width" in caplog.text or "wide" in caplog.text


def test_full_queue_and_closed_log_count_what_they_drop(tmp_path):
    log = PredictionLog(tmp_path, rows=10, seconds=60, capacity=5)
    for _ in range(5000):
        log.append(make_row(prediction_id="x"))
    log.close()
    log.append(make_row())
    assert log.dropped >= 1
    assert log.written + log.dropped == 5001
    assert len(read_log(tmp_path)) == log.written


FULL_DISK = """
import json, resource, sys, time
from pathlib import Path
from hakka.monitor import PredictionLog, row
values = dict(version="v", features=dict(width=1, height=1, brightness=1, blur=1), boxes=[], classes=[], confidences=[])
def wait(done):
    deadline = time.monotonic() + 60
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
log = PredictionLog(Path(sys.argv[1]), rows=10, seconds=60, capacity=40, retry=0.02)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
for _ in range(10):
    log.append(row(**values))
wait(lambda: log._held == 10)
for _ in range(50):
    log.append(row(**values))
full = [log.waiting, log.dropped]
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
wait(lambda: log.written == 40)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
for _ in range(25):
    log.append(row(**values))
log.close()
print(json.dumps([full, log.dropped, log.written]))
"""


def test_full_disk_keeps_rows_in_memory_then_counts_what_it_drops_and_recovers(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(result.stdout) == [[40, 20], 45, 40]
    assert result.stderr.count("refuses the prediction log") == 2  # once a time that it is full
    assert len(read_log(tmp_path)) == 40
    assert [path for path in tmp_path.glob("*/*") if not path.name.startswith("part-")] == []


KILLED = """
import sys
import time
from pathlib import Path
from hakka.monitor import PredictionLog, row
log = PredictionLog(Path(sys.argv[1]), rows=50, seconds=0.2)
values = dict(version="v", features=dict(width=1, height=1, brightness=1, blur=1), boxes=[[0, 0, 1, 1]])
count = 0
while True:
    log.append(row(**values, classes=["apple"], confidences=[0.5], prediction_id=str(count)))
    count += 1
    if count % 100 == 0:
        while (waiting := log._queue.qsize()) > 50:
            time.sleep(0.001)
        print(count - waiting - log.dropped, flush=True)
"""


def test_kill_9_loses_only_the_open_file(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    taken = 0
    while len(list(tmp_path.glob("*/part-*.parquet"))) < 20:
        taken = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    files = list(tmp_path.glob("*/part-*.parquet"))
    assert len(files) >= 20
    assert sum(pq.read_table(path).num_rows for path in files) == len(read_log(tmp_path))
    # What the writer had taken off the queue is on the disk but for the one batch in its hands.
    assert taken - 50 <= len(read_log(tmp_path))


def test_append_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    values, free = make_row(), threading.Event()
    with PredictionLog(tmp_path, capacity=20_000) as log:
        write = log._storage.write
        monkeypatch.setattr(log._storage, "write", lambda *part: free.wait(60) and write(*part))
        for _ in range(10_000):
            log.append(values)
        assert log.written == 0
        free.set()
    assert log.written == 10_000
