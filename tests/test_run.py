"""The run record: figures, the summary, and the page, from what the steps leave behind."""

import io
import json
import math
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from hakka.data.convert import convert
from hakka.data.sample import write_sample
from hakka.errors import InvalidInput
from hakka.params import read_params
from hakka.run import Sources, collect_run, figures, lineage, new_run_id, track
from hakka.run_page import render_run, summarize_run

TOLD = {"about": "", "origin": "", "note": "", "findings": []}
CHECKS = [
    {"name": name, "severity": severity, "passed": passed, "skipped": skipped} | TOLD
    for name, severity, passed, skipped in (
        ("images open", "error", True, False),
        ("classes are <balanced>", "warning", False, False),
        ("classes have boxes", "warning", True, False),
        ("like the last version", "warning", True, True),
    )
]
ORIGIN = {"data": "/photos", "data_revision": "r1", "run": "run-1"}


@pytest.fixture
def sources(tmp_path):
    """What the steps of a run write, as small as it gets."""
    counts = {
        "images": {"found": 5, "converted": 4, "refused": 1},
        "boxes": {"found": 9, "converted": 7, "clipped": 2, "refused": 2},
    }
    files = {
        "dataset/report.json": counts,
        "dataset/dataset.json": {"digest": "d", "names": ["apple"], "classes": 1},
        "validation/report.json": {"passed": True, "errors": 0, "warnings": 1, "checks": CHECKS},
        "training/train.json": {"epochs": 3},
        "model/model.json": {"precision": "fp32", "names": ["apple"]},
        "evaluation/metrics.json": {"map50": 0.5, "map50_95": 0.25, "per_class": {}},
        "decision/decision.json": {"promote": False, "reason": "a <loss> is possible", "numbers": {"low": -0.1}},
    }
    for name, value in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(value))
    steps = ("dataset", "validation", "training", "model", "evaluation", "decision")
    return Sources(*(tmp_path / name for name in steps))


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"map50": 0.5, "version": "abc", "passed": True}, {"map50": 0.5}),
        ({"images": {"found": 3, "names": ["a"]}}, {"images.found": 3.0}),
        ({"per_class": {"apple": {"ap50": 0.5}}}, {}),
        ({"loss": math.nan, "best": math.inf, "none": None}, {}),
    ],
)
def test_figures_are_the_numbers_that_a_dashboard_can_show(report, expected):
    assert figures(report) == expected


def test_a_record_counts_what_was_used_and_what_was_refused(sources):
    record = collect_run(sources, "", ORIGIN)
    assert record["counts"] == {
        "images": 4,
        "boxes": 7,
        "clipped": 2,
        "refused": 3,
        "refused_images": 1,
        "refused_boxes": 2,
    }
    assert (record["decision"], record["version"], record["run"]) == ("keep", None, "run-1")
    assert "names" not in record["dataset"]


def test_a_summary_is_five_lines_for_a_person(sources):
    assert summarize_run(collect_run(sources, "0123456789ab", ORIGIN)).splitlines() == [
        "data      4 images, 7 boxes (2 clipped); refused 1 image, 2 boxes",
        "detector  mAP50 0.500, mAP50-95 0.250 on the test images",
        "checks    3 run, 1 warning: classes are <balanced>",
        "gate      keep: a <loss> is possible",
        "champion  0123456789ab",
    ]


def test_a_page_escapes_what_it_shows(sources, tmp_path):
    page = render_run(collect_run(sources, "", ORIGIN), tmp_path)
    assert "a &lt;loss&gt; is possible" in page
    assert "<th>checks</th><td>3 run, 1 warning: classes are &lt;balanced&gt;</td>" in page


def test_splits_that_an_earlier_dataset_gave_are_told(sources, tmp_path):
    """By the sentence of a real conversion, whatever its notes say."""
    write_sample(tmp_path / "photos", images=12)
    first = convert(tmp_path / "photos", tmp_path / "first")
    record = collect_run(replace(sources, dataset=tmp_path / "first"), "", ORIGIN)
    assert (record["kept_splits"], "splits" in summarize_run(record)) == ("", False)

    convert(tmp_path / "photos", tmp_path / "second", earlier=tmp_path / "first")
    record = collect_run(replace(sources, dataset=tmp_path / "second"), "", ORIGIN)
    line = summarize_run(record).splitlines()[2]
    assert line.startswith(f"splits    {first['images']['converted']} photos keep the split of the earlier dataset ")
    assert f"<th>splits</th><td>{line[10:]}</td>" in render_run(record, tmp_path)


def test_variants_are_a_line_each_in_the_summary_and_a_table_on_the_page(sources, tmp_path):
    row = {"map50_95": 0.25, "within_budget": True, "settings": {}}
    compared = [
        {"title": "<b>", "map50": 0.5, "ms": 4.06, "chosen": True, **row},
        {"title": "imgsz=64", "map50": 0.4, "ms": 12.0, "chosen": False, **row},
    ]
    comparison = {"latency_budget_ms": 0.0, "refusal": "", "compared": compared}
    (sources.evaluation / "variants.json").write_text(json.dumps(comparison))
    record = collect_run(sources, "", ORIGIN)
    assert summarize_run(record).splitlines()[1:5] == [
        "detector  mAP50 0.500, mAP50-95 0.250 on the test images",
        "variant   <b>: mAP50 0.500, mAP50-95 0.250, 4.1 ms a photo, chosen",
        "variant   imgsz=64: mAP50 0.400, mAP50-95 0.250, 12.0 ms a photo",
        "checks    3 run, 1 warning: classes are <balanced>",
    ]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", render_run(record, tmp_path).split("<h2>Variants</h2>")[1])
    assert cells == ["&lt;b&gt;", "0.500", "0.250", "4.1", "chosen", "imgsz=64", "0.400", "0.250", "12.0", ""]


def test_variants_of_several_machines_have_their_figures_in_a_column_and_the_machines_in_another(sources, tmp_path):
    row = {"map50": 0.5, "map50_95": 0.25, "within_budget": True, "settings": {}}
    compared = [
        {"title": "first", "ms": 4.06, "chosen": True, "where": "CPU <A>, 2 cores", **row},
        {"title": "second", "ms": 112.4, "chosen": False, "where": "CPU B, 16 cores", **row},
    ]
    comparison = {"latency_budget_ms": 7.0, "refusal": "two machines", "compared": compared}
    (sources.evaluation / "variants.json").write_text(json.dumps(comparison))
    page = render_run(collect_run(sources, "", ORIGIN), tmp_path).split("<h2>Variants</h2>")[1]
    assert "<th class=n>ms a photo</th><th>verdict</th><th>measured on</th>" in page
    assert "<td class=n>4.1</td><td>chosen</td><td>CPU &lt;A&gt;, 2 cores</td>" in page
    assert "<td class=n>112.4</td><td></td><td>CPU B, 16 cores</td>" in page


def test_links_survive_a_copy_of_the_folder_that_holds_page_and_reports(sources, tmp_path):
    record = collect_run(sources, "", ORIGIN)
    inside = re.findall(r'href="([^"]+)"', render_run(record, tmp_path))
    assert inside == [
        "model-card.html",
        "dataset-card.html",
        *(f"{step}/report.html" for step in ("dataset", "validation", "evaluation")),
    ]
    outside = re.findall(r'href="([^"]+)"', render_run(record, tmp_path / "other"))
    assert outside[2:] == [Path(path).as_uri() for path in record["paths"].values()]


def test_a_missing_report_is_one_sentence(sources):
    (sources.evaluation / "metrics.json").unlink()
    with pytest.raises(InvalidInput, match=r"metrics\.json: no such file"):
        collect_run(sources, "", ORIGIN)


def test_a_run_whose_model_is_promoted_is_written_down_also_where_the_registry_is_away(
    sources, tmp_path, monkeypatch, caplog
):
    metrics = sources.evaluation / "metrics.json"
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "version": "0123456789ab"}))
    (tmp_path / "file").touch()
    monkeypatch.setenv("HAKKA_REGISTRY", str(tmp_path / "file" / "registry"))
    monkeypatch.setattr("hakka.tracking.mirror_run", lambda *_: {"task": "t1", "warning": None})
    record = track(tmp_path / "record", sources, "0123456789ab", ORIGIN)
    assert json.loads((tmp_path / "record" / "run.json").read_text()) == record
    assert record["clearml"]["task"] == "t1"
    assert "run run-1 is complete, the registry did not take its record: " in caplog.text


def test_clearml_gets_the_model_the_cards_the_plots_and_every_section_that_decided_something(
    sources, tmp_path, monkeypatch
):
    more = {
        "training/train.json": {"epochs": 3, "params": {"epochs": 3, "imgsz": 64}},
        "training/history.json": [{"epoch": 1, "val/map50": 0.5}],
        "model/model.bin": "weights",
        "evaluation/metrics.json": {
            **{"version": "0123456789ab", "map50": 0.5, "map50_95": 0.25},
            **{"per_class": {"apple": {"ap50": 0.5}}, "confusion": [[3, 1], [2, 0]]},
        },
        "evaluation/curves.json": {"apple": [1.0, 0.5, 0.0], "pear": [None, None, None]},
        "evaluation/variant.json": {"title": "", "training": {}, "precision": "int8"},
    }
    for name, value in more.items():
        (tmp_path / name).write_text(json.dumps(value))
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "TRAINS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    record = track(tmp_path / "record", sources, "", {**ORIGIN, "commit": "abc"})
    assert record["clearml"]["warning"] is None
    with zipfile.ZipFile(record["clearml"]["session"]) as session:
        kept = {name.rpartition("/")[2]: session.read(name) for name in session.namelist()}
    task = json.loads(kept["task.json"])
    sent = {
        section: {name: item["value"] for name, item in row.items()} for section, row in task["hyperparams"].items()
    }
    assert set(sent) == {"run", "dataset", *(set(read_params()) - {"scan", "search", "cluster", "monitor"})}
    assert (sent["train"]["epochs"], sent["train"]["imgsz"], sent["export"]["precision"]) == ("3", "64", "int8")
    assert (sent["run"]["data_revision"], sent["run"]["commit"], sent["dataset"]["digest"]) == ("r1", "abc", "d")
    assert sent["gate"]["margin"] == str(read_params()["gate"]["margin"])
    for card in ("model-card.md", "dataset-card.md"):
        assert kept[card].decode().startswith("# ")
    with zipfile.ZipFile(io.BytesIO(kept["model.zip"])) as model:
        assert sorted(model.namelist()) == ["model.bin", "model.json"]
    events = [event for line in kept["metrics.jsonl"].splitlines() for event in json.loads(line)]
    plots = {
        (event["metric"], event["variant"]): json.loads(event["plot_str"]) for event in events if "plot_str" in event
    }
    curve, matrix = (plots[name]["data"][0] for name in (("precision over recall", "apple"), ("confusion", "boxes")))
    assert (curve["x"], curve["y"]) == ([0.0, 0.5, 1.0], [1.0, 0.5, 0.0])
    assert (matrix["x"], matrix["z"]) == (["apple", "nothing"], [[3, 1], [2, 0]])
    assert ("precision over recall", "pear") not in plots, "no test photo shows it"


def test_a_local_run_is_known_by_its_own_id(monkeypatch):
    monkeypatch.delenv("HAKKA_RUN_ID", raising=False)
    assert lineage("/photos", "r1", "job-7")["run"] == "job-7"
    monkeypatch.setenv("HAKKA_RUN_ID", "20260102-030405-abcdef")
    assert lineage("/photos", "r1", "job-7")["run"] == "20260102-030405-abcdef"


def test_a_model_names_the_commit_of_the_code_that_made_it(monkeypatch):
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", lineage("/photos", "r1", "job-7")["commit"])
    monkeypatch.setenv("HAKKA_COMMIT", "of-an-image")
    assert lineage("/photos", "r1", "job-7")["commit"] == "of-an-image"


def test_run_ids_differ_within_a_second():
    assert len({new_run_id() for _ in range(50)}) == 50
