"""A log over time: past days become few files without losing or doubling a row, and old days go."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from hakka.monitor import PredictionLog, merging, read_log, row
from hakka.monitor.merging import merge_day
from hakka.monitor.storage import open_storage
from hakka.monitor.upkeep import remove_old_days

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY = "2026-03-04"


def make_row(name, when=NOW):
    features = {"width": 1, "height": 1, "brightness": 1, "blur": 1}
    return row(version="v", features=features, boxes=[], classes=[], confidences=[], prediction_id=name, time=when)


def write(folder, *names, when=NOW):
    """One part file a call."""
    with PredictionLog(folder) as log:
        for name in names:
            log.append(make_row(name, when))


def ids(folder):
    return sorted(read_log(folder)["prediction_id"])


def kinds(folder, day=DAY):
    return sorted(path.name.split("-")[0] for path in (folder / day).iterdir())


def test_parts_become_one_file_with_the_same_rows(tmp_path, caplog):
    for names in ("ab", "c", "def"):
        write(tmp_path, *names)
    merge_day(open_storage(tmp_path), DAY)
    assert kinds(tmp_path) == ["whole"]
    assert ids(tmp_path) == list("abcdef")
    merge_day(open_storage(tmp_path), DAY)
    assert kinds(tmp_path) == ["whole"]
    write(tmp_path, "late")
    merge_day(open_storage(tmp_path), DAY)
    assert kinds(tmp_path) == ["part", "whole"]  # one part is few enough
    write(tmp_path, "later")
    merge_day(open_storage(tmp_path), DAY)
    assert kinds(tmp_path) == ["whole", "whole"]
    assert ids(tmp_path) == [*"abcdef", "late", "later"]
    assert caplog.records == []


def test_large_days_become_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "MERGED_ROWS", 4)
    for names in ("ab", "cd", "ef", "gh", "ij"):
        write(tmp_path, *names)
    merge_day(open_storage(tmp_path), DAY)
    assert kinds(tmp_path) == ["part", "whole", "whole"]
    assert ids(tmp_path) == list("abcdefghij")


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_row_is_read_once_when_a_merge_was_cut_short_before_its_parts_went(tmp_path, monkeypatch):
    for name in "abc":
        write(tmp_path, name)
    storage = open_storage(tmp_path)

    def killed(day, name):
        raise Killed

    monkeypatch.setattr(storage, "remove", killed)
    with pytest.raises(Killed):
        merge_day(storage, DAY)
    assert kinds(tmp_path) == ["part", "part", "part", "whole"]
    assert ids(tmp_path) == list("abc")
    merge_day(open_storage(tmp_path), DAY)
    assert kinds(tmp_path) == ["whole"]
    assert ids(tmp_path) == list("abc")


def test_two_that_merge_the_same_day_double_nothing(tmp_path, monkeypatch):
    for name in "abc":
        write(tmp_path, name)
    slow, fast = open_storage(tmp_path), open_storage(tmp_path)
    put = slow.write

    def overtaken(day, name, content):
        """The slow one has read a, b and c; before it writes, a part comes and the fast one merges all four."""
        write(tmp_path, "d")
        merge_day(fast, DAY)
        put(day, name, content)

    monkeypatch.setattr(slow, "write", overtaken)
    merge_day(slow, DAY)
    assert kinds(tmp_path) == ["whole", "whole"]
    assert ids(tmp_path) == list("abcd")


def test_a_reader_sees_every_row_while_a_day_is_merged(tmp_path, monkeypatch):
    for name in "abc":
        write(tmp_path, name)
    listings = []
    storage = open_storage(tmp_path)
    files = storage.files

    def merged_after_the_listing(day):
        names = files(day)
        if not listings:
            merge_day(open_storage(tmp_path), day)
        listings.append(names)
        return names

    monkeypatch.setattr(storage, "files", merged_after_the_listing)
    tables = merging.read_day(storage, DAY)
    assert sorted(name for table in tables for name in table["prediction_id"].to_pylist()) == list("abc")
    assert len(listings) > 2


def test_a_torn_part_stays_where_it_is(tmp_path, caplog):
    for name in "ab":
        write(tmp_path, name)
    (tmp_path / DAY / "part-torn.parquet").write_bytes(b"PAR1")
    (tmp_path / DAY / ".part-x.parquet.y").write_bytes(b"half")
    os.utime(tmp_path / DAY / ".part-x.parquet.y", (0, 0))
    merge_day(open_storage(tmp_path), DAY)
    assert kinds(tmp_path) == ["part", "whole"]
    assert ids(tmp_path) == ["a", "b"]
    assert "part-torn" in caplog.text


def test_old_days_go(tmp_path):
    for age in (0, 1, 2, 3, 100):
        write(tmp_path, str(age), when=NOW - timedelta(days=age))
    (tmp_path / "2026-notes").mkdir()
    storage = open_storage(tmp_path)
    remove_old_days(storage, 0, NOW.date())
    assert len(storage.days()) == 5
    remove_old_days(storage, 3, NOW.date())
    assert storage.days() == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert (tmp_path / "2026-notes").is_dir()


def test_a_running_log_keeps_order_by_itself(tmp_path):
    today = datetime.now(UTC)
    for name in "ab":
        write(tmp_path, name, when=today - timedelta(days=1))
    write(tmp_path, "old", when=today - timedelta(days=9))
    old_picture = tmp_path / "images" / date(2026, 1, 1).isoformat() / "x.jpg"
    old_picture.parent.mkdir(parents=True)
    old_picture.write_bytes(b"")
    with PredictionLog(tmp_path, days=7, upkeep=0.02) as log:
        log.append(make_row("now", today))
        yesterday = (today - timedelta(days=1)).date().isoformat()
        deadline = time.monotonic() + 60
        while kinds(tmp_path, yesterday) != ["whole"] and time.monotonic() < deadline:
            time.sleep(0.01)
    assert kinds(tmp_path, yesterday) == ["whole"]
    assert ids(tmp_path) == ["a", "b", "now"]
    assert not old_picture.exists()


def test_kills_lose_no_row_of_a_closed_file_and_leave_no_unreadable_one(tmp_path):
    command = [sys.executable, "-m", "benchmarks.log_kills", "--kills", "30", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["kills"], answer["broken"]) == (30, 0)
    assert answer["rows"] > 0
    assert answer["merged_files"] > 0
