"""The sample: what is committed is what the command draws, and the faults are where SOURCE.md says."""

import hashlib
import json
from pathlib import Path

import pytest

from hakka.data.convert import convert
from hakka.data.sample import load_cutouts, write_sample
from hakka.errors import InvalidInput

SAMPLE = Path(__file__).resolve().parents[2] / "sample"


def _digests(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_committed_sample_is_what_the_command_draws(tmp_path):
    write_sample(tmp_path / "sample")
    assert _digests(tmp_path / "sample") == _digests(SAMPLE)


def test_the_sample_is_small_and_has_enough_classes():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 8 * 2**20
    coco = json.loads((SAMPLE / "annotations.json").read_text())
    assert len(coco["categories"]) >= 20
    assert 230 <= len(coco["images"]) <= 250
    used = {annotation["category_id"] for annotation in coco["annotations"]}
    assert used >= {category["id"] for category in coco["categories"]}


def test_every_cutout_is_named_with_its_source():
    text = (SAMPLE / "SOURCE.md").read_text()
    for name, pictures in load_cutouts().pictures.items():
        assert text.count(f"| {name}/") == len(pictures)
    assert "GPL-2" in text


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("images/scene_0002.jpg", "clipped"),
        ("images/scene_0004.jpg", "refused"),
        ("images/scene_0005.jpg", "refused"),
        ("images/faulty_truncated.jpg", "refused"),
        ("images/faulty_duplicate.jpg", "refused"),
        ("images/faulty_missing.jpg", "refused"),
    ],
)
def test_each_fault_is_found(converted_sample, image, kind):
    assert image in (SAMPLE / "SOURCE.md").read_text()
    assert [f["kind"] for f in converted_sample["findings"] if f["image"] == image] == [kind]


@pytest.fixture(scope="module")
def converted_sample(tmp_path_factory):
    return convert(SAMPLE, tmp_path_factory.mktemp("sample") / "dataset")


def test_another_seed_draws_other_scenes(tmp_path):
    write_sample(tmp_path / "a", images=8, size=96, seed=1)
    write_sample(tmp_path / "b", images=8, size=96, seed=2)
    a, b = _digests(tmp_path / "a"), _digests(tmp_path / "b")
    scenes = [name for name in a if "scene_" in name]
    assert len(scenes) == 8
    assert not any(a[name] == b[name] for name in scenes)


def test_a_clean_sample_has_no_finding(tmp_path):
    write_sample(tmp_path / "clean", images=12, size=96, faulty=False, backgrounds=("granite", "tiles"))
    report = convert(tmp_path / "clean", tmp_path / "dataset")
    assert report["findings"] == []
    assert report["images"]["converted"] == 12


def test_boxes_lie_on_what_they_name(tmp_path):
    """The saturation changes more from pixel to pixel inside the boxes than on the bare table."""
    import numpy as np
    from PIL import Image

    write_sample(tmp_path / "s", images=8, size=128, faulty=False)
    coco = json.loads((tmp_path / "s" / "annotations.json").read_text())
    inside, outside = [], []
    for entry in coco["images"]:
        pixels = np.asarray(Image.open(tmp_path / "s" / entry["file_name"]).convert("HSV"), float)[..., 1]
        mask = np.zeros(pixels.shape, bool)
        for annotation in coco["annotations"]:
            if annotation["image_id"] == entry["id"]:
                x, y, w, h = annotation["bbox"]
                mask[y : y + h, x : x + w] = True
        edges = np.abs(np.diff(pixels, axis=1))
        inside.append(edges[mask[:, 1:]].mean())
        outside.append(edges[~mask[:, 1:]].mean())
    assert np.mean(inside) > 1.2 * np.mean(outside)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"images": 3}, "at least 8"), ({"size": 10}, "64 to 2048"), ({"backgrounds": ("moon",)}, "'moon'")],
)
def test_bad_options_are_said(tmp_path, options, words):
    with pytest.raises(InvalidInput, match=words):
        write_sample(tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(InvalidInput, match="holds other files"):
        write_sample(tmp_path, images=8)
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


def test_where_a_link_stands_its_place_is_written(tmp_path):
    (tmp_path / "link").symlink_to("place")
    for images in (8, 9):  # into a new place, and over what is there
        write_sample(tmp_path / "link", images=images, size=64, faulty=False)
        assert (tmp_path / "link").is_symlink()
        assert len(list((tmp_path / "place" / "images").iterdir())) == images
    assert {path.name for path in tmp_path.iterdir()} == {"link", "place"}


def test_a_link_to_itself_is_named_as_it_was_written(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InvalidInput, match=r"/loop: must be a path, got links that lead in a circle$"):
        write_sample(tmp_path / "loop", images=8, size=64)
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]
