"""COCO out: a dataset as JSON that other tools read and that converts back to the same dataset."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from data_pictures import coco, draw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from hakka.boxes import Array
from hakka.cli import main
from hakka.data.coco_out import export_coco
from hakka.data.convert import convert
from hakka.data.dataset import load_dataset
from hakka.data.split import SplitParams
from hakka.errors import HakkaError, InvalidInput, NotFound

SIZES = [(96, 64), (64, 96), (50, 50), (333, 77), (1001, 640)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of pictures of all sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for i, size in enumerate(SIZES):
        draw(folder / f"{i}.jpg", i, size)
    return folder


def labels_by_image(path: Path) -> dict[str, Array]:
    dataset = load_dataset(path)
    return {entry.image: dataset.labels(entry) for entry in dataset.entries}


def convert_again(photos: Path, exported: Path, out: Path, **options) -> Path:
    """Put what was exported beside the photos alone, and convert that."""
    source = out.parent / f"{out.name}-source"
    source.mkdir()
    for item in photos.iterdir():
        if item.suffix != ".json":
            (source / item.name).symlink_to(item)
    files = sorted(exported.iterdir()) if exported.is_dir() else [exported]
    for file in files:
        (source / file.name).write_bytes(file.read_bytes())
    convert(source, out, **options)
    return out


BOX = st.tuples(
    st.integers(0, len(SIZES) - 1),
    st.integers(0, 2),
    *(st.floats(0, 1) for _ in range(2)),
    *(st.floats(0.05, 1) for _ in range(2)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes=st.lists(BOX, max_size=12))
def test_source_to_dataset_to_coco_to_dataset_gives_the_same_boxes(photos, tmp_path_factory, boxes):
    folder = tmp_path_factory.mktemp("round")
    images = [{"id": i, "file_name": f"{i}.jpg", "width": w, "height": h} for i, (w, h) in enumerate(SIZES)]
    annotations = []
    for image, label, x, y, w, h in boxes:
        width, height = SIZES[image]
        bbox = [x * 0.9 * width, y * 0.9 * height, w * width, h * height]  # may hang out: then it is clipped
        annotations.append({"image_id": image, "category_id": 10 * (label + 1), "bbox": bbox})
    (folder / "in.json").write_text(json.dumps(coco(images, annotations, ("egg", "milk", "plate"))))
    first = convert_again(photos, folder / "in.json", folder / "first")
    export_coco(first, photos, folder / "out.json")
    second = convert_again(photos, folder / "out.json", folder / "second")
    before, after = labels_by_image(first), labels_by_image(second)
    assert load_dataset(second).names == load_dataset(first).names
    assert before.keys() == after.keys()
    for image, labels in before.items():
        assert np.array_equal(labels[:, 0], after[image][:, 0])
        assert np.abs(labels[:, 1:] - after[image][:, 1:]).max(initial=0) < 1e-6
    report = json.loads((second / "report.json").read_bytes())
    assert report["boxes"]["clipped"] == report["boxes"]["refused"] == 0


def test_the_file_says_what_the_format_asks_for(write_coco, tmp_path):
    source = write_coco(3, {0: [[8, 4, 32.5, 16]], 2: [[0, 0, 96, 64], [1, 2, 3, 4]]})
    convert(source, tmp_path / "dataset")
    written = export_coco(tmp_path / "dataset", source, tmp_path / "coco.json")
    assert written == {"files": [str(tmp_path / "coco.json")], "images": 3, "boxes": 3, "classes": 2}
    content = json.loads((tmp_path / "coco.json").read_bytes())
    assert content["categories"] == [{"id": 1, "name": "apple"}, {"id": 2, "name": "mik"}]
    assert content["images"] == [
        {"id": i + 1, "file_name": f"images/{i:03}.jpg", "width": 96, "height": 64} for i in range(3)
    ]
    assert [(item["id"], item["image_id"]) for item in content["annotations"]] == [(1, 1), (2, 3), (3, 3)]
    assert content["annotations"][0]["bbox"] == pytest.approx([8, 4, 32.5, 16], abs=1e-5)
    assert content["annotations"][0]["area"] == pytest.approx(520, abs=1e-3)
    assert {item["iscrowd"] for item in content["annotations"]} == {0}
    assert content["info"]["version"] == load_dataset(tmp_path / "dataset").digest
    assert content["licenses"] == []


def test_pycocotools_loads_it_and_scores_it_against_itself(write_coco, tmp_path):
    from pycocotools.cocoeval import COCOeval

    source = write_coco(4)
    convert(source, tmp_path / "dataset")
    export_coco(tmp_path / "dataset", source, tmp_path / "coco.json")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "coco.json"))
        found = truth.loadRes([{**item, "score": 0.9} for item in truth.loadAnns(truth.getAnnIds())])
        scores = COCOeval(truth, found, "bbox")
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
    assert len(truth.getImgIds()) == 4
    assert scores.stats[0] == pytest.approx(1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_stated_upright_and_comes_back_upright(source, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    draw(source / "turned.jpg", 1, exif=exif.tobytes())
    draw(source / "plain.jpg", 2)
    image = {"id": 0, "file_name": "turned.jpg", "width": 96, "height": 64}  # as the sensor saw it
    box = {"image_id": 0, "category_id": 10, "bbox": [8, 4, 30, 20]}
    (source / "a.json").write_text(json.dumps(coco([image, {"id": 1, "file_name": "plain.jpg"}], [box])))
    convert(source, tmp_path / "first")
    export_coco(tmp_path / "first", source, tmp_path / "out.json")
    stated = json.loads((tmp_path / "out.json").read_bytes())["images"][1]
    assert (stated["width"], stated["height"]) == ((64, 96) if orientation >= 5 else (96, 64))
    second = convert_again(source, tmp_path / "out.json", tmp_path / "second")
    before, after = labels_by_image(tmp_path / "first"), labels_by_image(second)
    assert np.allclose(before["turned.jpg"], after["turned.jpg"], atol=1e-6)


def test_a_file_for_each_split_keeps_splits_and_numbers(write_coco, tmp_path):
    source = write_coco(12)
    convert(source, tmp_path / "first")
    written = export_coco(tmp_path / "first", source, tmp_path / "coco", per_split=True)
    assert [Path(file).name for file in written["files"]] == [f"instances_{s}.json" for s in ("train", "val", "test")]
    parts = {split: json.loads((tmp_path / f"coco/instances_{split}.json").read_bytes()) for split in ("train", "val")}
    first = load_dataset(tmp_path / "first")
    for split, content in parts.items():
        assert [image["file_name"] for image in content["images"]] == [entry.image for entry in first.split(split)]
    assert not {i["id"] for i in parts["train"]["images"]} & {i["id"] for i in parts["val"]["images"]}
    again = convert_again(source, tmp_path / "coco", tmp_path / "second", params=SplitParams(keep_source=True))
    splits = {entry.image: entry.split for entry in first.entries}
    assert {entry.image: entry.split for entry in load_dataset(again).entries} == splits


def test_the_same_dataset_gives_the_same_bytes_and_replaces_only_its_own(write_coco, tmp_path):
    source = write_coco(4)
    convert(source, tmp_path / "dataset")
    export_coco(tmp_path / "dataset", source, tmp_path / "a.json")
    first = (tmp_path / "a.json").read_bytes()
    export_coco(tmp_path / "dataset", source, tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == first
    theirs = (source / "annotations.json").read_bytes()
    with pytest.raises(InvalidInput, match="will not replace a file that Hakka did not export"):
        export_coco(tmp_path / "dataset", source, source / "annotations.json")
    assert (source / "annotations.json").read_bytes() == theirs


@pytest.mark.parametrize(
    ("out", "per_split", "words"),
    [
        ("coco.txt", False, "must end in .json"),
        ("folder", False, "must end in .json, got a folder"),
        ("file", True, "must be a folder, got a file"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_sentence(write_coco, tmp_path, out, per_split, words):
    source = write_coco(2)
    convert(source, tmp_path / "dataset")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match=words):
        export_coco(tmp_path / "dataset", source, tmp_path / out, per_split=per_split)


def test_a_photo_that_is_not_there_is_named(write_coco, tmp_path):
    source = write_coco(2)
    convert(source, tmp_path / "dataset")
    (source / "images/001.jpg").unlink()
    with pytest.raises(NotFound, match=r"images/001\.jpg: the image of the dataset is not in the data folder"):
        export_coco(tmp_path / "dataset", source, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.1 0.1\n7 0.5 0.5 0.1 0.1\n", "0 0.5 0.5 0.1 0.1\n", "nonsense\n"])
def test_labels_that_do_not_fit_the_index_leave_no_file(write_coco, tmp_path, text):
    source = write_coco(2, {0: [[8, 8, 9, 9], [8, 8, 10, 10]]})
    convert(source, tmp_path / "dataset")
    dataset = load_dataset(tmp_path / "dataset")
    entry = next(entry for entry in dataset.entries if entry.boxes)
    dataset.label_file(entry).write_text(text)
    with pytest.raises(HakkaError, match=r"000\.txt"):
        export_coco(tmp_path / "dataset", source, tmp_path / "a.json")
    assert [item.name for item in tmp_path.iterdir() if item.name.endswith(".json")] == []


def test_the_verb_for_people_and_for_programs(write_coco, tmp_path, capsys):
    source = write_coco(3)
    assert main(["convert", str(source), "--out", str(tmp_path / "d")]) == 0
    capsys.readouterr()
    assert main(["export-data", str(tmp_path / "d"), "--out", str(tmp_path / "a.json")]) == 0
    assert "3 images, 3 boxes, 2 classes" in capsys.readouterr().out
    options = ["--data", str(source), "--out", str(tmp_path / "per"), "--format", "coco", "--per-split", "--json"]
    assert main(["export-data", str(tmp_path / "d"), *options]) == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 3
    assert main(["export-data", str(tmp_path / "d"), "--data", str(source), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
