"""Drift of a new version of the data against the last one: seen where it is, not seen where chance will do."""

import json

import numpy as np
import pytest
from PIL import Image
from quality_photos import failed

from hakka.data.convert import convert
from hakka.data.dataset import load_dataset
from hakka.errors import InvalidInput
from hakka.quality.profile import (
    POINTS,
    DriftLimits,
    _distribution,
    find_drift,
    last_profile,
    make_profile,
    read_profile,
    remember_profile,
)
from hakka.quality.validate import validate

LIMITS = DriftLimits(class_distance=0.2, number_distance=0.3)


def profile_of(classes: dict[str, int], **values: list[float]) -> dict:
    names = ("boxes_per_image", "box_width", "box_height", "image_width", "image_height", "image_aspect")
    numbers = {name: _distribution(values.get(name, [])) for name in (*names, "brightness", "deviation")}
    return {"format": 1, "dataset": "", "images": 1, "boxes": 1, "classes": classes, "numbers": numbers}


def note_of(report: dict) -> str:
    return next(check["note"] for check in report["checks"] if check["name"] == "data_drift")


def test_without_an_earlier_version_the_check_says_so_and_passes(dataset, tmp_path):
    report = validate(dataset.path, None, tmp_path / "out")
    assert report["warnings"] == 0
    [drift] = [check for check in report["checks"] if check["name"] == "data_drift"]
    assert drift["skipped"]
    assert note_of(report) == "skipped: there was no earlier version to compare with"
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{len(report['checks']) - 1} checks, 0 errors, 0 warnings, 1 not run." in page


def test_the_same_version_has_not_drifted_however_it_is_named(dataset, tmp_path):
    validate(dataset.path, None, tmp_path / "first")
    for against in (tmp_path / "first", tmp_path / "first" / "profile.json", dataset.path):
        report = validate(dataset.path, None, tmp_path / "second", against=against)
        assert note_of(report) == ""
        assert "data_drift" not in failed(report, "warning")


def test_a_version_of_other_classes_boxes_and_light_is_reported(dataset, source, tmp_path):
    validate(dataset.path, None, tmp_path / "first")
    content = json.loads((source / "a.json").read_text())
    content["categories"].append({"id": 3, "name": "leek"})
    for image in content["images"]:
        with Image.open(source / image["file_name"]) as picture:
            darker = picture.point(lambda value: value // 4)
        darker.save(source / image["file_name"])
    for box in content["annotations"]:
        box["category_id"] = 3 if box["category_id"] == 1 else 2
        box["bbox"][2] += 30
    (source / "a.json").write_text(json.dumps(content))
    convert(source, tmp_path / "dataset")
    report = validate(tmp_path / "dataset", None, tmp_path / "second", against=tmp_path / "first")
    assert report["passed"]
    found = failed(report, "warning")["data_drift"]
    assert "class 'leek' is new: 24 boxes" in found
    assert "class 'egg' has gone: it had 24 boxes" in found
    assert "the shares of the classes: the total variation distance" in found
    assert "the width of boxes, as a share of the image: the Kolmogorov–Smirnov distance" in found
    assert "the mean grey value of images" in found
    assert "width by height" not in found


def test_distances_are_those_of_the_textbook():
    before = profile_of({"a": 6000, "b": 4000}, brightness=list(range(10_000)))
    after = profile_of({"a": 3000, "b": 7000}, brightness=[value + 4000 for value in range(10_000)])
    found = find_drift(before, after, LIMITS)
    assert "got 0.30" in found[0]
    assert "got 0.40" in found[1]
    assert len(found) == 2
    assert find_drift(before, after, DriftLimits(0.35, 0.45)) == []


def test_small_samples_of_one_distribution_are_not_called_drift():
    rng = np.random.default_rng(0)
    calm = 0
    for _ in range(200):
        sides = [rng.normal(0, 1, 12).tolist() for _ in range(2)]
        counts = [rng.multinomial(30, [0.4, 0.3, 0.2, 0.1]) for _ in range(2)]
        old, new = (
            profile_of({name: 1 + int(n) for name, n in zip("abcd", count, strict=True)}, brightness=side)
            for side, count in zip(sides, counts, strict=True)
        )
        calm += not find_drift(old, new, DriftLimits(0.1, 0.1))
    assert calm >= 198


def test_constant_and_empty_numbers_are_compared(dataset):
    one = profile_of({"a": 5}, image_width=[640] * 50, brightness=[])
    assert find_drift(one, one, LIMITS) == []
    assert "got 1.00" in find_drift(one, profile_of({"a": 5}, image_width=[641] * 50, brightness=[3.0]), LIMITS)[0]
    assert find_drift(profile_of({}), profile_of({}), LIMITS) == []
    empty = make_profile(dataset, {}, {})
    assert empty["numbers"]["box_width"] == {"count": 0, "quantiles": []}
    assert len(empty["numbers"]["image_width"]["quantiles"]) == POINTS


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"format": 1}', '{"format": 2, "classes": {}, "numbers": {}}'],
)
def test_what_is_no_profile_is_refused(dataset, tmp_path, content):
    (tmp_path / "profile.json").write_text(content)
    for against in (tmp_path / "profile.json", tmp_path):
        with pytest.raises(InvalidInput, match="profile"):
            validate(dataset.path, None, tmp_path / "out", against=against)
    with pytest.raises(InvalidInput, match=r"must be a profile\.json, or a folder"):
        validate(dataset.path, None, tmp_path / "out", against=tmp_path / "gone")


def test_the_last_accepted_profile_is_remembered_for_each_data_folder(dataset, tmp_path):
    validate(dataset.path, None, tmp_path / "out")
    home = tmp_path / "home"
    assert last_profile(home, "data/a") is None
    kept = remember_profile(tmp_path / "out", home, "data/a")
    assert last_profile(home, "data/a") == kept
    assert read_profile(kept)["dataset"] == load_dataset(dataset.path).digest
    assert last_profile(home, "data/b") is None
    with pytest.raises(InvalidInput, match=r"must be a profile\.json"):
        remember_profile(tmp_path / "nothing", home, "data/a")
