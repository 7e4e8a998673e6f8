"""The run record: figures, the summary, and the page, from what the steps leave behind."""

import json
import math

import pytest

from hakka.errors import InvalidInput
from hakka.run import Sources, collect_run, figures, lineage, new_run_id, render_run, summarize_run

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
        "validation/report.json": {"passed": True, "errors": 0, "warnings": 1, "checks": []},
        "training/train.json": {"epochs": 3},
        "evaluation/metrics.json": {"map50": 0.5, "map50_95": 0.25, "per_class": {}},
        "decision/decision.json": {"promote": False, "reason": "a <loss> is possible", "numbers": {"low": -0.1}},
    }
    for name, value in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(value))
    return Sources(*(tmp_path / name for name in ("dataset", "validation", "training", "evaluation", "decision")))


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


def test_a_summary_is_four_lines_for_a_person(sources):
    assert summarize_run(collect_run(sources, "0123456789ab", ORIGIN)).splitlines() == [
        "data      4 images, 7 boxes (2 clipped); refused 1 images, 2 boxes",
        "detector  mAP50 0.500, mAP50-95 0.250 on the test images",
        "gate      keep: a <loss> is possible",
        "champion  0123456789ab",
    ]


def test_a_page_escapes_what_it_shows(sources):
    page = render_run(collect_run(sources, "", ORIGIN))
    assert "a &lt;loss&gt; is possible" in page
    assert page.count("<li>") == 3


def test_a_missing_report_is_one_sentence(sources):
    (sources.evaluation / "metrics.json").unlink()
    with pytest.raises(InvalidInput, match=r"metrics\.json: no such file"):
        collect_run(sources, "", ORIGIN)


def test_a_local_run_is_known_by_its_own_id(monkeypatch):
    monkeypatch.delenv("HAKKA_RUN_ID", raising=False)
    assert lineage("/photos", "r1", "job-7")["run"] == "job-7"
    monkeypatch.setenv("HAKKA_RUN_ID", "20260102-030405-abcdef")
    assert lineage("/photos", "r1", "job-7")["run"] == "20260102-030405-abcdef"


def test_run_ids_differ_within_a_second():
    assert len({new_run_id() for _ in range(50)}) == 50
