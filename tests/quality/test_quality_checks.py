"""Checks of the user's own: run with the same fixtures, weighed by params.yaml, and never able to pass the suite by."""

import xml.etree.ElementTree as ET

import pytest
import yaml
from quality_photos import failed

from hakka.errors import HakkaError, InvalidInput
from hakka.params import PARAMS_FILE
from hakka.quality import validate as validation
from hakka.quality.limits import DEFAULTS
from hakka.quality.validate import validate

FINE = """
def test_all_fixtures(dataset, root, scans, labels, boxes, limits, judge):
    \"\"\"All that is promised is there.\"\"\"
    assert root.is_dir() and len(scans) == len(labels) == len(boxes) == len(dataset.entries)
    judge([])
"""
DOUBTFUL = """
def test_few_eggs(boxes, limits, judge):
    most = limits.number("few_eggs", "most", default=0)
    judge(((image, f"{image}: eggs must be ≤ {most:g}, got {len(rows)}") for image, rows in boxes.items()), note="eh")
"""


@pytest.fixture
def run(dataset, tmp_path):
    def run(code: str, quality: dict | None = None, name: str = "test_mine.py") -> dict:
        (tmp_path / "checks").mkdir(exist_ok=True)
        (tmp_path / "checks" / name).write_text(code)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"quality": quality or {}}))
        return validate(dataset.path, None, tmp_path / "out", params_file=tmp_path / "params.yaml")

    return run


def test_they_run_with_the_same_fixtures_and_are_marked(run, tmp_path):
    report = run(FINE)
    assert report["passed"]
    mine = [check for check in report["checks"] if check["origin"]]
    assert [(check["name"], check["origin"]) for check in mine] == [("all_fixtures", "checks/test_mine.py")]
    assert mine[0]["about"] == "All that is promised is there."
    assert "all_fixtures (yours: checks/test_mine.py)" in (tmp_path / "out" / "report.html").read_text()
    cases = ET.parse(tmp_path / "out" / "junit.xml").getroot().iter("testcase")
    assert {"test_all_fixtures", "test_images_decode"} <= {case.get("name") for case in cases}


def test_params_weigh_them(run):
    report = run(DOUBTFUL)
    assert "eggs must be ≤ 0, got 2" in failed(report)["few_eggs"]
    report = run(DOUBTFUL, {"few_eggs": {"severity": "warning", "most": 7}})
    assert report["passed"]
    assert "eggs must be ≤ 7, got 2" in failed(report, "warning")["few_eggs"]
    assert next(check["note"] for check in report["checks"] if check["name"] == "few_eggs") == "eh"
    assert "few_eggs" not in {check["name"] for check in run(DOUBTFUL, {"few_eggs": {"severity": "off"}})["checks"]}
    with pytest.raises(InvalidInput, match=r"quality\.few_eggs\.most must be a number"):
        run(DOUBTFUL, {"few_eggs": {"most": "many"}})
    with pytest.raises(InvalidInput, match=r"quality\.no_eggs is not a check"):
        run(DOUBTFUL, {"no_eggs": {}})


BROKEN = {
    "syntax": ("def test_0(:\n", "cannot be loaded: SyntaxError"),
    "lacks": ("import no_such_module\ndef test_1(): pass\n", "cannot be loaded: ModuleNotFoundError"),
    "leaves": ("import sys\nsys.exit(0)\ndef test_2(): pass\n", "cannot be loaded: SystemExit: 0"),
    "misnamed": ("def check_3(): pass\n", "holds no check"),
    "says": ("def test_says(): assert 1 + 1 == 3, 'sums'\n", "sums"),
    "asserts": ("def test_asserts(): assert len('ab') == 3\n", "assert 2 == 3"),
    "raises": ("def test_raises(): 1 / 0\n", "the check broke: ZeroDivisionError: division by zero"),
    "quits": ("def test_quits(): raise SystemExit(0)\n", "the check broke: SystemExit: 0"),
    "asks": ("def test_asks(nothing): pass\n", "fixture 'nothing' not found"),
    "judges": (
        "def test_judges(judge):\n judge([(None, 'an \udcff a')], 'n')\n".replace("\udcff", "\\udcff"),
        "an \\udcff a",
    ),
    "hides": ("def test_hides(judge):\n try: judge([(None, 'b')])\n except BaseException: pass\n", "b"),
    "tears": (
        "import pytest\n@pytest.fixture\ndef f():\n yield\n 1 / 0\ndef test_tears(f): pass\n",
        "the check broke: ZeroDivisionError",
    ),
    "spoils": ("def test_spoils(judge):\n judge([5])\n", "a problem must be (photo or None, sentence)"),
    "floods": ("def test_floods():\n while True: print('x' * 9999)\n", "the check broke: OSError"),
}


def test_one_that_breaks_is_one_finding_and_the_others_are_run(run, tmp_path):
    (tmp_path / "checks").mkdir()
    for name, (code, _) in BROKEN.items():
        (tmp_path / "checks" / f"test_{name}.py").write_text(code)
    report = run(FINE)
    found = {name.removeprefix("test_"): reason for name, reason in failed(report).items()}
    assert found.keys() == BROKEN.keys()
    for name, (_, words) in BROKEN.items():
        assert words in found[name]
        assert "\n" not in found[name]
    fine = {check["name"] for check in report["checks"] if check["passed"]}
    assert {"all_fixtures", *DEFAULTS} <= fine
    ET.parse(tmp_path / "out" / "junit.xml")


def test_one_that_ends_the_suite_leaves_the_others_as_findings(run):
    report = run(FINE + "\nimport pytest\ndef test_x(): pytest.exit('bye', returncode=0)\ndef test_y(): 0\n")
    assert failed(report) == dict.fromkeys("xy", "the check was not run: another one ended the suite")


@pytest.mark.parametrize(
    "code", ["import os\ndef test_x(): os._exit(0)\n", "import os\nos._exit(0)\ndef test_x(): 0\n"]
)
def test_one_that_kills_the_suite_is_named(run, code):
    with pytest.raises(HakkaError, match=r"the data checks broke in .*checks/test_mine\.py.* \(exit code 0\)") as error:
        run(code)
    assert "\n" not in str(error.value)


def test_one_that_never_ends_is_stopped(run, monkeypatch):
    options = validation._isolation
    monkeypatch.setattr(validation, "_isolation", lambda *folders: [*options(*folders), "--check-seconds=0.5"])
    report = run("def test_x():\n while True:\n  try:\n   while True: pass\n  except ValueError: pass\n")
    assert failed(report) == {"x": "the check broke: TooLong: a check may take 0.5 s"}


def test_a_skipped_one_is_noted(run):
    report = run(
        "import pytest\ndef test_x(): pytest.skip('no time')\n@pytest.mark.skip(reason='later')\ndef test_y(): 0\n"
    )
    assert report["passed"]
    assert {check["name"]: check["note"] for check in report["checks"] if check["origin"]} == {
        "x": "skipped: no time",
        "y": "skipped: later",
    }


def test_the_folder_may_be_named_and_must_be_there(dataset, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_a.py").write_text(FINE)
    (tmp_path / "own" / "conftest.py").write_text("import pytest\n@pytest.fixture\ndef five(): return 5\n")
    (tmp_path / "own" / "test_b.py").write_text("def test_five(five): assert five == 5\n")
    report = validate(dataset.path, None, tmp_path / "out", checks=tmp_path / "own")
    assert report["passed"]
    assert [c["origin"] for c in report["checks"] if c["origin"]] == ["own/test_a.py", "own/test_b.py"]
    with pytest.raises(InvalidInput, match="the folder of checks does not exist"):
        validate(dataset.path, None, tmp_path / "out", checks=tmp_path / "gone")


def test_the_example_of_the_repo_is_run_by_default(dataset, tmp_path):
    entry = dataset.entries[0]
    dataset.label_file(entry).write_text("0 0.5 0.5 0.1 0.1\n" * 101)
    report = validate(dataset.path, None, tmp_path / "out")
    assert (PARAMS_FILE.parent / "checks" / "test_one_plate.py").is_file()
    assert failed(report)["one_plate"] == f"{entry.image}: a photo of a meal may have 100 boxes at most, got 101"
