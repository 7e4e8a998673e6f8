"""``hakka runs``: runs listed and compared from their own records."""

import json

import pytest

from hakka.cli import main
from hakka.registry import keep_run
from tests.serving.tiny_model import build_model_folder, register_model


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two finished runs, one that was interrupted and one that is under way."""
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path))
    for name, epochs, map50 in (("20260101-0000-a", 10, 0.4), ("20260102-0000-b", 20, 0.6)):
        record = {
            "run": name,
            "status": "done",
            "seconds": 60.0,
            "data_revision": "rev-1",
            "counts": {"images": 9},
            "training": {"start": "starter", "epochs": epochs, "params": {"epochs": epochs, "imgsz": 320}},
            "metrics": {"version": "0123456789ab", "map50": map50, "per_class": {"egg": {"ap50": map50, "ap": 0.1}}},
            "decision": "promote",
        }
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text(json.dumps(record))
    (tmp_path / "runs" / "20260103-0000-c").mkdir()
    (tmp_path / "runs" / "20260103-0000-c" / "run.json").write_text('{"run": "20260103-0000-c", "status": "failed"}')
    (tmp_path / "runs" / "20260104-0000-d").mkdir()
    return tmp_path / "runs"


@pytest.mark.usefixtures("runs")
def test_runs_are_listed_oldest_first(capsys):
    assert main(["runs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in rows] == ["20260101-0000-a", "20260102-0000-b", "20260103-0000-c"]
    assert [row["map50"] for row in rows] == [0.4, 0.6, None]
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "mAP50 0.600  promote" in lines[1]
    assert "failed" in lines[2]


@pytest.mark.usefixtures("runs")
def test_compared_runs_show_what_differs_and_every_figure(capsys):
    assert main(["runs", "20260101", "20260102-0000-b", "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["runs"] == ["20260101-0000-a", "20260102-0000-b"]
    assert compared["values"] == {
        "train.epochs": [10, 20],
        "map50": [0.4, 0.6],
        "per_class.egg.ap50": [0.4, 0.6],
        "seconds": [60.0, 60.0],
    }
    assert main(["runs", "20260101", "20260103"]) == 0
    assert "map50               0.4              -" in capsys.readouterr().out


def test_a_version_knows_the_task_of_its_run_also_after_a_later_upload(runs, tmp_path, capsys):
    registry = tmp_path / "registry"
    version = register_model(build_model_folder(tmp_path / "model"), registry)
    offline = {
        "run": "run-1",
        "clearml": {"task": "offline-1"},
        "training": {"params": {"epochs": 3}, "start": "scratch"},
    }
    keep_run(registry, version, offline)
    assert lineage_of(version, capsys) == ("offline-1", {"epochs": 3}, "scratch", "data-1", "run-1")
    assert main(["models"]) == 0
    assert "data data-1  code -  run run-1  task offline-1" in capsys.readouterr().out
    (runs / "run-1").mkdir()
    own = {**offline, "metrics": {"version": version}, "clearml": {"task": "uploaded-1"}}
    (runs / "run-1" / "run.json").write_text(json.dumps(own))
    assert lineage_of(version, capsys)[0] == "uploaded-1"
    (runs / "run-1" / "run.json").write_text('{"run": "run-1", "status": "failed"}')
    assert lineage_of(version, capsys)[0] == "offline-1"


def lineage_of(version, capsys):
    assert main(["models", "--json"]) == 0
    [record] = json.loads(capsys.readouterr().out)["versions"]
    assert record["version"] == version
    names = ("clearml_task", "params", "start")
    return (*(record[name] for name in names), record["data"]["revision"], record["kfp_run"])


@pytest.mark.usefixtures("runs")
def test_a_name_that_is_not_one_run_is_one_sentence(capsys):
    assert main(["runs", "2026"]) == 2
    assert "must be the beginning of one run's id" in capsys.readouterr().err


def test_no_runs_and_a_broken_record_are_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path))
    assert main(["runs"]) == 0
    assert "`hakka run` makes one" in capsys.readouterr().out
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "run.json").write_text("[]")
    for command in (["runs"], ["track", "import"]):
        assert main(command) == 2
        assert "not the record of a run" in capsys.readouterr().err
