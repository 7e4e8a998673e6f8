"""The quality suite on good and spoilt datasets: what it says, and that nothing foreign disturbs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image
from quality_photos import failed, photo

from hakka.cli import main
from hakka.data.convert import convert
from hakka.data.dataset import load_dataset
from hakka.data.scan import scan_images
from hakka.errors import InvalidInput
from hakka.params import PARAMS_FILE
from hakka.quality.limits import DEFAULTS, read_limits
from hakka.quality.validate import validate

REPO = Path(__file__).resolve().parents[2]


def test_a_good_dataset_passes_every_check_quietly(dataset, source, tmp_path, capfd):
    report = validate(dataset.path, source, tmp_path / "out")
    assert report["passed"]
    assert (report["errors"], report["warnings"]) == (0, 0), failed(report, "warning")
    assert {check["name"] for check in report["checks"] if not check["origin"]} == set(DEFAULTS)
    written = ["junit.xml", "profile.json", "report.html", "report.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == written
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert capfd.readouterr() == ("", "")


def spoil_pixels(dataset, source):
    data = (source / "03.jpg").read_bytes()
    (source / "03.jpg").write_bytes(data[: len(data) // 2])


def lose_image(dataset, source):
    (source / "03.jpg").unlink()


def swap_image(dataset, source):
    photo(77, (80, 96)).save(source / "03.jpg")


def edit_label(line):
    def edit(dataset, source):
        dataset.label_file(dataset.entries[3]).write_text(line)

    return edit


def add_orphan(dataset, source):
    (dataset.path / "labels" / "val" / "nobody.txt").write_text("0 0.5 0.5 0.1 0.1\n")


def lose_label(dataset, source):
    dataset.label_file(dataset.entries[3]).unlink()


def empty_test_split(dataset, source):
    index = dataset.path / "index.jsonl"
    for entry in dataset.split("test"):
        dataset.label_file(entry).rename(dataset.path / "labels" / "train" / f"{entry.stem}.txt")
    index.write_text(index.read_text().replace('"split":"test"', '"split":"train"'))


def leak(dataset, source):
    one, other = dataset.split("train")[0], dataset.split("test")[0]
    Image.open(source / one.image).save(source / other.image, quality=60)


def leak_mirrored(dataset, source):
    one, other = dataset.split("train")[0], dataset.split("test")[0]
    Image.open(source / one.image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(source / other.image, quality=80)


def copy_across(dataset, source):
    one, other = dataset.split("train")[0], dataset.split("test")[0]
    (source / other.image).write_bytes((source / one.image).read_bytes())


@pytest.mark.parametrize(
    ("spoil", "check", "words"),
    [
        (spoil_pixels, "images_decode", "03.jpg: the image does not decode to its end"),
        (lose_image, "images_present", "03.jpg: not in the data folder"),
        (swap_image, "images_unchanged", "03.jpg: its bytes are not those"),
        (edit_label("0 0.5 0.5 0.1\n"), "label_syntax", "must be five finite numbers"),
        (edit_label("0 0.5 nan 0.1 0.1\n"), "label_syntax", "must be five finite numbers"),
        (edit_label("2 0.5 0.5 0.1 0.1\n"), "label_classes", "from 0 to 1, got 2"),
        (edit_label("0.5 0.5 0.5 0.1 0.1\n"), "label_classes", "got 0.5"),
        (edit_label("0 0.95 0.5 0.2 0.1\n"), "label_coordinates", "must lie within 0–1"),
        (edit_label("0 0.5 0.5 0 0.1\n"), "label_coordinates", "must lie within 0–1"),
        (edit_label("0 0.5 0.5 0.1 0.1\n"), "dataset_digest", "the digest must be"),
        (add_orphan, "label_files", "nobody.txt: no image belongs to it"),
        (lose_label, "label_files", "is missing"),
        (empty_test_split, "splits_filled", "split test: must hold images"),
        (leak, "split_leakage", "looks like"),
        (leak_mirrored, "split_leakage", "mirrored or upside down"),
        (copy_across, "exact_duplicates", "same bytes as"),
    ],
)
def test_what_is_wrong_stops_and_is_named(dataset, source, tmp_path, spoil, check, words):
    spoil(dataset, source)
    report = validate(dataset.path, source, tmp_path / "out")
    assert not report["passed"]
    assert words in failed(report)[check]
    assert check in (tmp_path / "out" / "junit.xml").read_text()


def test_a_dataset_without_a_class_or_a_box_to_train_on_does_not_pass(source, tmp_path):
    content = json.loads((source / "a.json").read_text()) | {"annotations": []}
    for categories, words in (([], "at least one class"), (content["categories"], "at least one box, got none on ")):
        (source / "a.json").write_text(json.dumps(content | {"categories": categories}))
        convert(source, tmp_path / "empty")
        report = validate(tmp_path / "empty", source, tmp_path / "out")
        assert list(failed(report)) == ["boxes_to_learn"]
        assert words in failed(report)["boxes_to_learn"]


def test_one_finding_and_one_error_are_told_as_one(dataset, source, tmp_path, capsys):
    add_orphan(dataset, source)
    assert main(["validate", str(dataset.path), "--data", str(source), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "error: label_files: 1 finding\n" in said
    assert " run, 1 error, 0 warnings: failed" in said
    assert ", 1 error, 0 warnings" in (tmp_path / "out" / "report.html").read_text()


def test_what_is_doubtful_is_reported_and_does_not_stop(source, tmp_path):
    content = json.loads((source / "a.json").read_text())
    Image.new("RGB", (60, 400), (90, 90, 90)).save(source / "flat.jpg", "PNG")
    content["images"] += [{"id": 50, "file_name": "flat.jpg"}, {"id": 51, "file_name": "<img src=x>.jpg"}]
    twin = [10, 10, 20, 20]
    content["annotations"] += [
        {"image_id": 50, "category_id": 1, "bbox": box} for box in (twin, twin, [1, 1, 1, 30], [50, 9, 30, 5])
    ]
    content["categories"].append({"id": 3, "name": "rare"})
    (source / "a.json").write_text(json.dumps(content))
    convert(source, tmp_path / "dataset")
    report = validate(tmp_path / "dataset", source, tmp_path / "out")
    assert report["passed"]
    warned = failed(report, "warning")
    for check in (
        "image_format",
        "image_size",
        "image_variance",
        "label_duplicates",
        "label_degenerate",
        "classes_trained",
    ):
        assert check in warned
    assert "clipped" in warned["source_findings"]
    assert "no such image file" in warned["source_findings"]
    assert "'rare': must have ≥ 10 boxes, got 0" in warned["class_instances"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;img src=x&gt;" in page
    assert "<img src=x" not in page


def test_severities_and_thresholds_come_from_params(dataset, source, tmp_path):
    params = yaml.safe_load(PARAMS_FILE.read_text())
    params["quality"]["class_instances"] = {"severity": "error", "min_boxes": 1000}
    params["quality"]["near_duplicates"] = {"severity": "off"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    report = validate(dataset.path, source, tmp_path / "out", params_file=tmp_path / "params.yaml")
    assert list(failed(report)) == ["class_instances"]
    assert "near_duplicates" not in {check["name"] for check in report["checks"]}


@pytest.mark.parametrize(
    "section",
    [
        {"no_such_check": {}},
        {"image_size": {"max": 1}},
        {"image_size": {"severity": "fatal"}},
        {"image_size": {"min_side": -1}},
        {"image_size": 3},
    ],
)
def test_params_that_mean_nothing_are_refused(dataset, source, tmp_path, section):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"quality": section}))
    with pytest.raises(InvalidInput, match="quality"):
        validate(dataset.path, source, tmp_path / "out", params_file=tmp_path / "params.yaml")


def test_the_params_file_of_the_repo_says_what_the_defaults_say():
    assert read_limits().values == DEFAULTS
    assert yaml.safe_load(PARAMS_FILE.read_text())["quality"].keys() == DEFAULTS.keys()


def test_bad_arguments_are_one_sentence(dataset, source, tmp_path):
    with pytest.raises(InvalidInput, match="not a dataset"):
        validate(source, source, tmp_path / "out")
    with pytest.raises(InvalidInput, match="does not exist"):
        validate(dataset.path, tmp_path / "gone", tmp_path / "out")


def test_foreign_pytest_settings_do_not_disturb(dataset, source, tmp_path, monkeypatch):
    (tmp_path / "conftest.py").write_text("raise SystemExit('a foreign conftest was loaded')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    monkeypatch.chdir(tmp_path)
    assert validate(Path("dataset"), Path("source"), Path("out"))["passed"]


def plain_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=REPO, env=environ, capture_output=True, text=True, check=False)


def test_plain_pytest_runs_the_same_suite(dataset, source):
    lose_image(dataset, source)
    done = plain_pytest(f"--dataset={dataset.path}", "hakka/quality", "checks")
    assert done.returncode == 1
    assert "test_images_present" in done.stdout
    assert "03.jpg: not in the data folder" in done.stdout
    assert "checks/test_one_plate.py ." in done.stdout
    assert "data_drift: skipped: there was no earlier version to compare with" in done.stdout


def test_plain_pytest_says_what_it_needs(dataset, source):
    without = plain_pytest("hakka/quality")
    assert without.returncode == 4
    assert "needs --dataset=DATASET" in without.stderr
    source.rename(source.with_name("elsewhere"))
    moved = plain_pytest(f"--dataset={dataset.path}", "hakka/quality")
    assert moved.returncode == 4
    assert "must know the folder of its images" in moved.stderr


def test_the_dataset_knows_where_its_images_are(dataset, source, tmp_path):
    assert validate(dataset.path, None, tmp_path / "out")["passed"]
    both = tmp_path / "both"
    both.mkdir()
    for folder in (dataset.path, source):
        folder.rename(both / folder.name)
    assert load_dataset(both / "dataset").root == both / "source"
    assert validate(both / "dataset", None, tmp_path / "out")["passed"]


def test_scans_that_are_there_are_not_taken_again(dataset, source, tmp_path):
    scans = scan_images(source, [entry.image for entry in dataset.entries])
    spoil_pixels(dataset, source)
    assert validate(dataset.path, source, tmp_path / "out", scans=scans)["passed"]
    with pytest.raises(InvalidInput, match=r"03\.jpg: the scans must cover every image"):
        validate(dataset.path, source, tmp_path / "out", scans={k: v for k, v in scans.items() if k != "03.jpg"})


def test_the_page_shows_the_images_and_twins_side_by_side(dataset, source, tmp_path):
    leak(dataset, source)
    photo(5).resize((60, 400)).save(source / dataset.entries[3].image)
    validate(dataset.path, source, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    twins = page[page.index("error: split_leakage") :]
    twins = twins[: twins.index("</div>")]
    assert twins.count('<img alt="') == twins.count('src="data:image/jpeg;base64,') == 2
    assert "looks like" in twins
    validate(dataset.path, source, tmp_path / "again")
    for name in ("report.html", "report.json", "profile.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_page_stays_small_however_much_is_wrong(dataset, source, tmp_path):
    for entry in dataset.entries:
        photo(3, (80, 600)).save(source / entry.image)
    report = validate(dataset.path, source, tmp_path / "out")
    assert len(failed(report)["images_unchanged"].splitlines()) == len(dataset.entries)
    section = (tmp_path / "out" / "report.html").read_text().split("<h2>")
    section = next(part for part in section if part.startswith("error: images_unchanged"))
    assert section.count("<img ") == 12
    assert (tmp_path / "out" / "report.html").stat().st_size < 5_000_000


def test_a_killed_validation_leaves_no_suite_behind(dataset, source, tmp_path):
    folders = (dataset.path, source, tmp_path / "out")
    code = "import sys; from pathlib import Path; from hakka.quality.validate import validate; "
    code += "validate(*map(Path, sys.argv[1:]))"
    parent = subprocess.Popen([sys.executable, "-c", code, *map(str, folders)], cwd=REPO)
    deadline = time.monotonic() + 60
    children: list[str] = []
    while not children and time.monotonic() < deadline:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert children
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    suite = Path(f"/proc/{children[0]}/cmdline")
    while suite.exists() and suite.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_report_never_takes_the_place_of_something_else(dataset, source):
    before = (dataset.path / "report.json").read_bytes()
    for folder in (dataset.path, source):
        with pytest.raises(InvalidInput, match="not a validation of Hakka's"):
            validate(dataset.path, source, folder)
    assert (dataset.path / "report.json").read_bytes() == before


def test_a_check_may_be_switched_off_without_quotes(tmp_path):
    (tmp_path / "params.yaml").write_text("quality:\n  near_duplicates: {severity: off}\n")
    assert read_limits(tmp_path / "params.yaml").severity("near_duplicates") == "off"
