"""The drift watch: quiet on photos of one kind, loud when they change, and clear when it cannot tell."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hakka.errors import InvalidInput
from hakka.monitor import PredictionLog, row, write_rows
from hakka.monitor.columns import DriftParams, align, compare_columns, derive
from hakka.monitor.compare import compare_categories, compare_numbers, compare_presence, least_p_value
from hakka.monitor.drift import _run_evidently, watch
from hakka.params import read_section

NAMES = ["apple", "carrot", "corn", "grape", "lemon", "mango", "onion", "pear", "potato", "shrimp", "tomato", "walnut"]
SHARES = np.array([14, 12, 11, 10, 10, 9, 9, 8, 7, 5, 3, 2]) / 100
NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)


def make_rows(count, rng, *, darker=0.0, doubt=0.0, without=None, version="v1", days=3.0):
    """Photos of one to three foods, each food found several times, as a camera and a detector might give them."""
    rows = []
    for _ in range(count):
        scene = rng.choice(NAMES, size=rng.integers(1, 4), p=SHARES, replace=False)
        found = [str(name) for name in rng.choice(scene, size=rng.poisson(3)) if name != without]
        width, height = [(640, 480), (1600, 1200), (3024, 4032)][rng.choice(3, p=[0.5, 0.3, 0.2])]
        brightness = float(np.clip(rng.normal(120, 35) - darker, 0, 255))
        rows.append(
            row(
                version=version,
                features={"width": width, "height": height, "brightness": brightness, "blur": rng.lognormal(5, 1)},
                boxes=[(0, 0, 10, 10)] * len(found),
                classes=found,
                confidences=np.clip(rng.beta(4, 2, len(found)) - doubt, 0.25, 1),
                latency_ms=20,
                time=NOW - timedelta(days=float(rng.uniform(0, days))),
            )
        )
    return rows


def write_log(folder, rows):
    with PredictionLog(folder) as log:
        for values in rows:
            log.append(values)
    return folder


def drifted_columns(reference, current):
    import pandas as pd

    params = DriftParams()
    before, after = align(derive(pd.DataFrame(reference)), derive(pd.DataFrame(current)), params.alpha)
    return {name for name, column in compare_columns(before, after, params).items() if column["drifted"]}


def test_undrifted_photos_rarely_raise_an_alarm():
    rng = np.random.default_rng(11)
    alarms = sum(bool(drifted_columns(make_rows(150, rng), make_rows(300, rng))) for _ in range(30))
    assert alarms <= 1


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"darker": 40}, "brightness"),
        ({"doubt": 0.15}, "confidence"),
        ({"without": "carrot"}, "has carrot"),
    ],
)
def test_real_changes_are_caught(change, column):
    rng = np.random.default_rng(5)
    found = [drifted_columns(make_rows(150, rng), make_rows(300, rng, **change)) for _ in range(10)]
    assert all(column in columns for columns in found)


def test_watch_tells_drift_and_writes_report_and_answer(tmp_path):
    rng = np.random.default_rng(3)
    write_rows(tmp_path / "reference.parquet", make_rows(150, rng))
    write_log(tmp_path / "log", make_rows(200, rng, darker=60))
    answer = watch(tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out", now=NOW)
    assert (answer["answer"], answer["drifted"], answer["rows"], answer["reference_rows"]) == (
        "drifted",
        True,
        200,
        150,
    )
    assert answer["reason"].startswith("drift in brightness")
    assert answer["columns"]["brightness"]["p_value"] < 1e-6
    assert not answer["columns"]["blur"]["drifted"]
    assert json.loads((tmp_path / "out" / "drift.json").read_text()) == {**answer, "report": "report.html"}
    html = Path(answer["report"]).read_text()
    assert "brightness" in html
    assert "<script src=" not in html
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["drift.json", "report.html"]


def test_watch_compares_only_the_rows_of_the_reference_version(tmp_path):
    rng = np.random.default_rng(4)
    write_rows(tmp_path / "reference.parquet", make_rows(150, rng))
    write_log(tmp_path / "log", [*make_rows(150, rng), *make_rows(300, rng, darker=80, version="v2")])
    answer = watch(tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out", now=NOW)
    assert (answer["answer"], answer["rows"], answer["version"]) == ("ok", 150, "v1")


def test_watch_looks_at_the_last_days_only(tmp_path):
    rng = np.random.default_rng(6)
    write_rows(tmp_path / "reference.parquet", make_rows(150, rng))
    old = [{**values, "time": NOW - timedelta(days=30)} for values in make_rows(500, rng, darker=80)]
    write_log(tmp_path / "log", [*make_rows(150, rng), *old])
    answer = watch(tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out", now=NOW)
    assert (answer["answer"], answer["rows"]) == ("ok", 150)


@pytest.mark.parametrize(
    ("reference", "log", "reason"),
    [
        (150, 12, "the log since 2026-03-01T12:00 must hold at least 100 rows of version v1, got 12"),
        (29, 150, "the reference must hold at least 30 rows of version v1, got 29"),
    ],
)
def test_too_few_rows_are_no_drift(tmp_path, reference, log, reason):
    rng = np.random.default_rng(1)
    write_rows(tmp_path / "reference.parquet", make_rows(reference, rng))
    write_log(tmp_path / "log", make_rows(log, rng, darker=100))
    answer = watch(tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out", now=NOW)
    assert (answer["answer"], answer["drifted"], answer["report"]) == ("too_few_rows", False, None)
    assert answer["reason"] == reason
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["drift.json"]


def test_detector_that_finds_nothing_is_drift(tmp_path):
    rng = np.random.default_rng(2)
    write_rows(tmp_path / "reference.parquet", make_rows(150, rng))
    blind = [{**values, "boxes": [], "classes": [], "confidences": []} for values in make_rows(150, rng)]
    write_log(tmp_path / "log", blind)
    answer = watch(tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out", now=NOW)
    assert answer["columns"]["detections"]["drifted"]
    assert answer["columns"]["top_class"]["drifted"]
    assert "confidence" not in answer["columns"]


def test_version_comes_from_the_model_beside_a_reference_without_one(tmp_path):
    rng = np.random.default_rng(8)
    write_rows(tmp_path / "reference.parquet", make_rows(120, rng, version=""))
    (tmp_path / "model.json").write_text('{"version": "v9"}')
    write_log(tmp_path / "log", make_rows(20, rng, version="v9"))
    answer = watch(tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out", now=NOW)
    assert (answer["version"], answer["rows"], answer["reference_rows"]) == ("v9", 20, 120)


@pytest.mark.parametrize(
    ("versions", "wanted", "message"),
    [
        (["v1", "v2"], "", "one version unless monitor.version names one, found v1, v2"),
        (["v1"], "v3", "must hold rows of version v3, it holds v1"),
        ([""], "", "one version unless monitor.version names one, found no version"),
    ],
)
def test_unclear_version_is_refused(tmp_path, versions, wanted, message):
    rng = np.random.default_rng(0)
    write_rows(tmp_path / "reference.parquet", [values for v in versions for values in make_rows(2, rng, version=v)])
    with pytest.raises(InvalidInput, match=message):
        watch(tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out", DriftParams(version=wanted))


def test_reference_that_is_no_log_file_is_refused(tmp_path):
    (tmp_path / "reference.parquet").write_text("not parquet")
    with pytest.raises(InvalidInput, match=r"reference\.parquet: not a prediction log file"):
        watch(tmp_path / "reference.parquet", tmp_path / "log", tmp_path / "out")


def test_report_shows_the_answers_that_are_given():
    import pandas as pd

    rng = np.random.default_rng(9)
    params = DriftParams()
    sides = [
        derive(pd.DataFrame(rows)) for rows in (make_rows(150, rng), make_rows(300, rng, without="carrot", darker=30))
    ]
    before, after = align(*sides, params.alpha)
    columns = compare_columns(before, after, params)
    shown = _run_evidently(before, after, params).dict()
    assert [metric["value"] for metric in shown["metrics"]] == pytest.approx([c["p_value"] for c in columns.values()])
    failed = [test["status"].value == "FAIL" for test in shown["tests"]]
    assert failed == [column["drifted"] for column in columns.values()]
    assert any(failed)
    assert not all(failed)


GUARDED = """
import socket, sys
from pathlib import Path
seen = []
class Socket(socket.socket):
    def connect(self, address):
        seen.append(address)
        raise OSError("no network")
def look_up(*arguments, **options):
    seen.append(arguments)
    raise OSError("no network")
socket.socket, socket.getaddrinfo = Socket, look_up
import hakka.monitor.drift as drift
assert "evidently" not in sys.modules and "pandas" not in sys.modules and "scipy" not in sys.modules
base = Path(sys.argv[1])
print(drift.watch(base / "reference.parquet", base / "log", base / "out")["answer"], seen)
"""


def test_watch_calls_nobody_and_imports_late(tmp_path):
    rng = np.random.default_rng(3)
    rows = make_rows(120, rng)
    write_rows(tmp_path / "reference.parquet", rows)
    write_log(tmp_path / "log", [{**values, "time": datetime.now(UTC)} for values in rows])
    environ = {name: value for name, value in os.environ.items() if name != "DO_NOT_TRACK"}
    result = subprocess.run(
        [sys.executable, "-c", GUARDED, str(tmp_path)], capture_output=True, text=True, env=environ, timeout=300
    )
    assert result.stdout.splitlines()[-1:] == ["ok []"], result.stderr


def test_numbers():
    assert compare_numbers([1, 2, 3, 4], [1, 2, 3, 4]).p_value == pytest.approx(1)
    apart = compare_numbers(range(100), range(100, 200))
    assert apart.effect == 1
    assert apart.p_value < 1e-12


def test_categories_pool_the_rare_and_see_the_frequent():
    rare = compare_categories(["a"] * 100 + ["b"], ["a"] * 1000)
    assert (rare.p_value, rare.effect) == (1, 0)
    moved = compare_categories(["a"] * 50 + ["b"] * 50, ["a"] * 90 + ["b"] * 10)
    assert moved.effect == pytest.approx(0.4)
    assert moved.p_value < 1e-6


def test_presence_and_the_least_it_can_say():
    gone = compare_presence(["yes"] * 20 + ["no"] * 80, ["no"] * 100)
    assert gone.effect == 1
    assert gone.p_value == pytest.approx(least_p_value(20, [100, 100]))
    assert compare_presence(["no"] * 9, ["no"] * 9).effect == 0
    assert least_p_value(2, [100, 100]) > 0.1


def test_small_difference_is_no_drift_however_sure():
    rng = np.random.default_rng(0)
    result = compare_numbers(rng.normal(0, 1, 200_000), rng.normal(0.05, 1, 200_000))
    assert result.p_value < 1e-12
    assert not result.drifted(alpha=0.01, least_effect=0.1)


@pytest.mark.parametrize(("name", "value"), [("alpha", 0.0), ("min_effect", 1.5), ("min_rows", 3), ("days", 0.0)])
def test_parameters_are_checked(name, value):
    with pytest.raises(InvalidInput, match=f"monitor.{name}"):
        DriftParams(**{name: value})


def test_params_file_holds_the_defaults():
    assert read_section(DriftParams, "monitor") == DriftParams()
