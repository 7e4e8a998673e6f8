"""The COCO reader and the conversion: what a user puts in, what comes out, and what is said about the rest."""

import json
import math
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from data_pictures import coco, draw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from hakka.boxes import cxcywh_to_xyxy
from hakka.data.convert import convert
from hakka.data.dataset import Dataset, load_dataset
from hakka.data.formats import coco as coco_reader
from hakka.data.formats import coco_boxes, read_annotations
from hakka.data.formats.coco_table import read_alike, tabulate
from hakka.data.formats.json_lists import read_document
from hakka.data.scan import scan_images
from hakka.data.split import SplitParams
from hakka.errors import InvalidInput

HUGE = 10**400


def run(source: Path, out: Path, content: object) -> dict:
    (source / "annotations.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return convert(source, out)


def reasons(report: dict) -> str:
    return "\n".join(finding["reason"] for finding in report["findings"])


def pixels(dataset: Dataset, image: str) -> list[list[float]]:
    entry = next(entry for entry in dataset.entries if entry.image == image)
    return np.round(cxcywh_to_xyxy(dataset.labels(entry)[:, 1:], entry.width, entry.height), 3).tolist()


def test_names_boxes_and_images_come_through_exactly(write_coco, tmp_path):
    report = convert(write_coco(4, {0: [[8, 4, 32.5, 16]], 1: []}), tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    assert report["images"] == {"found": 4, "converted": 4, "refused": 0}
    assert report["boxes"] == {"found": 1, "converted": 1, "clipped": 0, "refused": 0, "dropped": 0}
    assert dataset.names == ("apple", "mik")
    assert pixels(dataset, "images/000.jpg") == [[8, 4, 40.5, 20]]
    background = next(entry for entry in dataset.entries if entry.image == "images/001.jpg")
    assert background.boxes == 0
    assert dataset.label_file(background).read_bytes() == b""


@pytest.mark.parametrize(
    ("bbox", "word"),
    [
        ([8, 8, -4, 10], "width must be > 0, got -4"),
        ([8, 8, 4, 0], "height must be > 0, got 0"),
        ([math.nan, 8, 4, 4], "finite numbers"),
        ([8, math.inf, 4, 4], "finite numbers"),
        ([8, 8, 1e300, 4], "finite numbers"),
        ([8, 8, HUGE, 4], "finite numbers"),
        ([8, 8, True, 4], "finite numbers"),
        ([8, 8, "4", 4], "finite numbers"),
        ([8, 8, 4], "must be [x, y, width, height]"),
        (None, "must be [x, y, width, height]"),
        ([200, 8, 4, 4], "outside the 96 x 64 frame"),
        ([95.6, 8, 40, 4], "thinner than a pixel"),
    ],
)
def test_a_box_that_is_none_is_refused_with_the_reason(write_coco, tmp_path, bbox, word):
    report = convert(write_coco(2, {0: [[8, 8, 4, 4], bbox]}), tmp_path / "out")
    assert report["boxes"] == {"found": 2, "converted": 1, "clipped": 0, "refused": 1, "dropped": 0}
    assert word in reasons(report)


def test_a_box_that_hangs_out_is_clipped_and_said_so(write_coco, tmp_path):
    report = convert(write_coco(2, {0: [[-10, 50, 30, 30]]}), tmp_path / "out")
    assert report["boxes"] == {"found": 1, "converted": 1, "clipped": 1, "refused": 0, "dropped": 0}
    assert pixels(load_dataset(tmp_path / "out"), "images/000.jpg") == [[0, 50, 20, 64]]


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "a/../../secret.jpg", "C:\\x.jpg", "..\\secret.jpg", ""]
)
def test_a_file_name_that_leaves_the_source_is_refused(source, tmp_path, name):
    draw(tmp_path / "secret.jpg", 1)
    draw(source / "a.jpg", 2)
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": name}]
    annotations = [{"image_id": 2, "category_id": 10, "bbox": [1, 1, 9, 9]}]
    report = run(source, tmp_path / "out", coco(images, annotations))
    assert report["images"] == {"found": 2, "converted": 1, "refused": 1}
    assert report["boxes"]["refused"] == 1


@pytest.mark.parametrize("name", ["train2017/b.jpg", "/home/me/b.jpg", "C:\\photos\\b.jpg", "../../photos/b.jpg"])
def test_an_image_of_another_place_is_found_by_its_name_and_said_once(source, tmp_path, name):
    for i, file in enumerate("abc"):
        draw(source / "images" / f"{file}.jpg", i)
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": name}, {"id": 3, "file_name": "x/y/c.jpg"}]
    annotations = [{"image_id": i, "category_id": 10, "bbox": [i, 1, 9, 9]} for i in (1, 2, 3)]
    report = run(source, tmp_path / "out", coco(images, annotations))
    assert report["images"] == {"found": 3, "converted": 3, "refused": 0}
    assert pixels(load_dataset(tmp_path / "out"), "images/b.jpg") == [[2, 1, 11, 10]]
    said = [item["reason"] for item in report["findings"] if item["reason"].startswith("image 1 of annotations.json: ")]
    assert len(said) == 1
    assert said[0].endswith("the image with that name was taken (and 1 more like this)")


def test_no_image_is_found_by_its_name_that_another_element_means(source, tmp_path):
    draw(source / "train" / "1.jpg", 1)
    for folder in ("test", "train"):  # the photos of test are not here
        images = [{"id": 1, "file_name": f"{folder}/1.jpg"}, {"id": 2, "file_name": f"{folder}/2.jpg"}]
        box = {"image_id": 1, "category_id": 10, "bbox": [1, 1, 9, 9 if folder == "train" else 30]}
        (source / f"{folder}.json").write_text(json.dumps(coco(images, [box])))
    report = convert(source, tmp_path / "out")
    assert report["images"] == {"found": 4, "converted": 1, "refused": 3}
    assert report["boxes"] == {"found": 2, "converted": 1, "clipped": 0, "refused": 1, "dropped": 0}
    assert pixels(load_dataset(tmp_path / "out"), "train/1.jpg") == [[1, 1, 10, 10]]
    assert "image 0 of test.json: no such image file: 'test/1.jpg'" in reasons(report)


@pytest.mark.parametrize("files", [("one", "one"), ("one", "two")], ids=["in one file", "in two files"])
def test_an_image_whose_name_two_lost_elements_have_is_given_to_neither(source, tmp_path, files):
    for i, name in enumerate(("1.jpg", "2.jpg")):
        draw(source / name, i)
    for file in set(files):  # the photos of one of two cameras, without their folder
        own = [i for i in range(2) if files[i] == file]
        images = [{"id": i, "file_name": f"cam{i}/1.jpg"} for i in own] + [{"id": 9, "file_name": "cam0/2.jpg"}]
        boxes = [{"image_id": i, "category_id": 10, "bbox": [i, 1, 9, 9]} for i in (*own, 9)]
        (source / f"{file}.json").write_text(json.dumps(coco(images, boxes)))
    report = convert(source, tmp_path / "out")
    assert [entry.image for entry in load_dataset(tmp_path / "out").entries] == ["2.jpg"]
    for i in range(2):
        assert f"no such image file: 'cam{i}/1.jpg'" in reasons(report)


def test_odd_ids_orphans_and_crowds_are_refused_one_by_one(source, tmp_path):
    draw(source / "a.jpg", 1)
    box = [1, 1, 9, 9]
    content = coco(
        [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "a.jpg"}, {"file_name": "a.jpg"}, 7],
        [
            {"id": 1, "image_id": 1, "category_id": 20, "bbox": box},
            {"id": 1, "image_id": 1, "category_id": 20, "bbox": box},
            {"id": 1, "image_id": 1, "category_id": 20, "bbox": [2, 2, 9, 9]},
            {"image_id": 999, "category_id": 20, "bbox": box},
            {"image_id": [1], "category_id": 20, "bbox": box},
            {"image_id": 1, "category_id": 77, "bbox": box},
            {"image_id": 1, "category_id": {}, "bbox": box},
            {"image_id": 1, "category_id": 20, "bbox": box, "iscrowd": 1},
            "box",
        ],
    )
    content["categories"] += [{"id": 30}, {"id": 10, "name": "another apple"}, None]
    report = run(source, tmp_path / "out", content)
    assert report["images"] == {"found": 4, "converted": 1, "refused": 3}
    assert report["boxes"] == {"found": 9, "converted": 2, "clipped": 0, "refused": 7, "dropped": 0}
    for word in ("orphan", "unknown category id 77", "iscrowd", "there already", "means both", "taken by an image"):
        assert word in reasons(report)


def test_missing_truncated_foreign_and_unlisted_images_are_refused(source, tmp_path):
    whole = draw(source / "a.jpg", 1).read_bytes()
    (source / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (source / "text.jpg").write_text("no picture")
    (source / "empty.jpg").touch()
    Image.new("RGB", (9, 9)).save(source / "anim.gif")
    draw(source / "stranger.png", 5)
    names = ["a.jpg", "cut.jpg", "text.jpg", "empty.jpg", "gone.jpg", "anim.gif"]
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    boxes = [{"image_id": i, "category_id": 10, "bbox": [1, 1, 4, 4]} for i in range(6)]
    report = run(source, tmp_path / "out", coco(images, boxes))
    assert report["images"] == {"found": 7, "converted": 1, "refused": 6}
    assert report["boxes"] == {"found": 6, "converted": 1, "clipped": 0, "refused": 5, "dropped": 0}
    for word in (
        "cut.jpg: the image does not decode to its end",
        "empty",
        "no such image",
        "got GIF",
        "no annotation file lists",
    ):
        assert word in reasons(report)


def test_of_two_images_with_the_same_bytes_the_first_listed_is_kept(source, tmp_path):
    data = draw(source / "z.jpg", 1).read_bytes()
    (source / "b.jpg").write_bytes(data)
    (source / "a.jpg").write_bytes(data)
    images = [{"id": i, "file_name": name} for i, name in enumerate(("z.jpg", "b.jpg", "a.jpg"))]
    boxes = [{"image_id": i, "category_id": 10, "bbox": [1, 1, 4, 4 + i // 2]} for i in range(3)]
    report = run(source, tmp_path / "out", coco(images, boxes))
    assert [entry.image for entry in load_dataset(tmp_path / "out").entries] == ["z.jpg"]
    assert "b.jpg: has the same bytes as z.jpg and the same boxes" in reasons(report)
    assert "a.jpg: has the same bytes as z.jpg but other boxes" in reasons(report)


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
def test_boxes_sit_on_the_object_whatever_exif_says(source, tmp_path, orientation):
    """A white block on a noisy photo must be inside its box after the photo is turned upright."""
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 60, (64, 96, 3), dtype=np.uint8)
    canvas[10:26, 60:90] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    source.mkdir()
    Image.fromarray(canvas).save(source / "a.png", exif=exif)
    turned = orientation >= 5
    as_stored = {"id": 1, "file_name": "a.png", "width": 96, "height": 64}
    report_boxes = [{"image_id": 1, "category_id": 10, "bbox": [60, 10, 30, 16]}]
    run(source, tmp_path / "out", coco([as_stored], report_boxes))
    dataset = load_dataset(tmp_path / "out")
    entry = dataset.entries[0]
    assert (entry.width, entry.height) == ((64, 96) if turned else (96, 64))
    with Image.open(source / "a.png") as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("L"))
    (left, top, right, bottom), *_ = pixels(dataset, "a.png")
    inside = upright[round(top) : round(bottom), round(left) : round(right)]
    assert inside.min() == 255
    assert inside.size == 30 * 16


@pytest.mark.parametrize(("width", "height"), [(192, 128), (64, 96), (0, 0), (-96, 64), ("96", 64), (96.5, 64)])
def test_a_size_that_the_image_does_not_have_refuses_the_image(write_coco, tmp_path, width, height):
    source = write_coco(1)
    content = json.loads((source / "annotations.json").read_text())
    draw(source / "ok.jpg", 9)
    content["images"][0] |= {"width": width, "height": height}
    content["images"].append({"id": 50, "file_name": "ok.jpg"})
    report = run(source, tmp_path / "out", content)
    assert report["images"] == {"found": 2, "converted": 1, "refused": 1}
    assert report["boxes"] == {"found": 1, "converted": 0, "clipped": 0, "refused": 1, "dropped": 0}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_and_line_ends_are_read(write_coco, tmp_path, encoding):
    source = write_coco(2)
    text = json.dumps(json.loads((source / "annotations.json").read_text()), indent=1).replace("\n", "\r\n")
    (source / "annotations.json").write_bytes(text.encode(encoding))
    assert convert(source, tmp_path / "out")["images"]["converted"] == 2


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("[1, 2]", "COCO needs the lists"),
        ('{"images": []}', "missing annotations, categories"),
        ("{", "not valid JSON"),
        ("[" * 10_000, "nested too deep"),
        ("\x00\x01", "not valid JSON"),
        ("9" * 5000, "COCO needs the lists"),
    ],
)
def test_json_that_is_no_annotation_file_is_one_sentence(source, tmp_path, content, word):
    draw(source / "a.jpg", 1)
    with pytest.raises(InvalidInput, match=word) as caught:
        run(source, tmp_path / "out", content)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_folders_that_hold_no_data_are_one_sentence(source, tmp_path):
    with pytest.raises(InvalidInput, match="none there"):
        convert(source, tmp_path / "out")
    source.mkdir()
    with pytest.raises(InvalidInput, match="is empty"):
        convert(source, tmp_path / "out")
    draw(source / "a.jpg", 1)
    with pytest.raises(InvalidInput, match=r"no annotation file .* holds 1 images"):
        convert(source, tmp_path / "out")
    with pytest.raises(InvalidInput, match="got a file"):
        convert(source / "a.jpg", tmp_path / "out")
    with pytest.raises(InvalidInput, match="format must be one of"):
        convert(source, tmp_path / "out", format="tfrecord")
    with pytest.raises(InvalidInput, match="none of 2 images can be converted"):
        run(source, tmp_path / "out", coco([{"id": 1, "file_name": "gone.jpg"}], []))


def test_the_output_never_replaces_what_is_not_a_dataset(write_coco, tmp_path):
    source = write_coco(2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    for out in (source, tmp_path, tmp_path / "mine", source / "annotations.json"):
        with pytest.raises(InvalidInput):
            convert(source, out)
    assert (tmp_path / "mine" / "thesis.txt").exists()
    convert(source, source / "out")
    assert convert(source, source / "out")["images"]["found"] == 2


def test_files_are_found_by_the_rule_that_is_written_down(source, tmp_path):
    for i, name in enumerate(("images/train/a.jpg", "images/val/a.jpg", "val2017/b.jpg", "deep/down/c.jpg")):
        draw(source / name, i)
    (source / "annotations").mkdir()
    box = {"image_id": 1, "category_id": 10, "bbox": [1, 1, 4, 4]}
    (source / "annotations/instances_train.json").write_text(json.dumps(coco([{"id": 1, "file_name": "a.jpg"}], [box])))
    others = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "down\\c.jpg"}]
    (source / "annotations/instances_valid.json").write_text(json.dumps(coco(others, [box])))
    last = [{"id": 1, "file_name": "b.jpg"}, {"id": 2, "file_name": "a.jpg"}]
    (source / "annotations/val2017.json").write_text(json.dumps(coco(last, [box], ("mik", "apple", "egg"))))
    read = read_annotations(source)
    assert [image.image for image in read.images] == [
        "images/train/a.jpg",
        "images/val/a.jpg",
        "deep/down/c.jpg",
        "val2017/b.jpg",
    ]
    assert read.names == ("apple", "mik", "egg")
    assert [int(image.boxes[0, 0]) for image in read.images if len(image.boxes)] == [0, 0, 1]
    assert "could mean 2 files" in read.findings[-1].reason


def test_the_same_source_gives_the_same_bytes(write_coco, tmp_path):
    source = write_coco(8)
    for out in ("one", "two"):
        convert(source, tmp_path / out)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 8 + 5
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_hostile_names_stay_text(source, tmp_path):
    names = [
        "<script>alert(1)</script>.jpg",
        "line\u2028break\n.jpg",
        "한글 'quote\".jpg",
        ".hidden",
        "x" * 240 + ".jpg",
    ]
    for i, name in enumerate(names[:3] + names[4:]):
        draw(source / name.replace("/", "_"), i, format="JPEG")
    images = [{"id": i, "file_name": name.replace("/", "_")} for i, name in enumerate(names)]
    images.append({"id": 99, "file_name": "<img src=x onerror=alert(1)>"})
    report = run(source, tmp_path / "out", coco(images, [], ("<b>apple</b>", "a: b\n- c")))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<img src=x" not in page
    assert "<b>apple" not in page
    assert report["images"] == {"found": 6, "converted": 4, "refused": 2}
    dataset = load_dataset(tmp_path / "out")
    assert dataset.names == ("<b>apple</b>", "a: b\n- c")
    assert all(len(dataset.labels(entry)) == 0 for entry in dataset.entries)


def test_keys_that_come_twice_are_refused_where_they_are(source, tmp_path):
    for name in "abc":
        draw(source / f"{name}.jpg", ord(name))
    text = """{"info": {"day": 1, "day": 2}, "categories": [{"id": 1, "name": "egg"}, {"id": 2, "id": 3, "name": ""}],
    "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg", "file_name": "c.jpg"},
               {"id": 4, "id": 4, "file_name": "c.jpg"}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]},
                    {"image_id": 1, "image_id": 2, "category_id": 1, "bbox": [1, 1, 9, 9]},
                    {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "bbox": [2, 2, 9, 9]},
                    {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "extra": {"a": 1, "a": 2}},
                    {"image_id": 4, "category_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}]}"""
    report = run(source, tmp_path / "out", text)
    assert report["images"] == {"found": 4, "converted": 2, "refused": 2}
    assert report["boxes"] == {"found": 5, "converted": 2, "clipped": 0, "refused": 3, "dropped": 0}
    twice = "comes twice in one object, with two values"
    for place in ("image 1", "annotation 2", "annotation 3", "category 1"):
        assert re.search(f"{place} of annotations.json: .*{twice}", reasons(report))
    assert f"the key 'day' {twice}, under 'info'" in reasons(report)
    with pytest.raises(InvalidInput, match=f"the key 'images' {twice}"):
        run(source, tmp_path / "out", '{"images": [], "images": [1], "annotations": [], "categories": []}')


def test_outlines_stand_in_for_boxes_that_are_not_there(write_coco, tmp_path):
    source = write_coco(2, {0: [None, None, [], None, [1, 1, 5, 5]]})
    content = json.loads((source / "annotations.json").read_text())
    outlines = [
        [[8, 8, 30, 8, 30, 20]],
        {"size": [64, 96], "counts": [64 * 10 + 4, 6, 58, 6, 5430]},
        {"size": [96, 64], "counts": [6144]},
        [[1, 1, 5, 1, 9, 1]],
        [[8, 8, 30, 8, 30, 20]],
    ]
    for annotation, outline in zip(content["annotations"], outlines, strict=True):
        annotation["segmentation"] = outline
    report = run(source, tmp_path / "out", content)
    assert report["boxes"] == {"found": 5, "converted": 3, "clipped": 0, "refused": 2, "dropped": 0}
    expected = [[8, 8, 30, 20], [10, 4, 12, 10], [1, 1, 6, 6]]
    assert pixels(load_dataset(tmp_path / "out"), "images/000.jpg") == expected
    for word in ("2 annotations without bbox", "is for 64 x 96 pixels", "must have a width and a height"):
        assert word in reasons(report)


def test_not_a_number_refuses_the_box_and_not_the_file(write_coco, tmp_path):
    source = write_coco(2, {0: [[1, 1, 5, 5], [math.nan, 1, 5, 5], [1, -math.inf, 5, 5], [-1e6, -1e6, 2e6, 2e6]]})
    text = (source / "annotations.json").read_text()
    assert "NaN" in text
    report = convert(source, tmp_path / "out")
    assert report["boxes"] == {"found": 4, "converted": 2, "clipped": 1, "refused": 2, "dropped": 0}


def test_ids_that_are_large_sparse_text_or_too_large(source, tmp_path):
    for name in "abcd":
        draw(source / f"{name}.jpg", ord(name))
    ids = [2**63 - 1, "uuid-1", 2**64, 2**64 + 1]
    images = [{"id": id_, "file_name": f"{name}.jpg"} for id_, name in zip(ids, "abcd", strict=True)]
    boxes = [
        {"id": f"box {i}", "image_id": id_, "category_id": 7 * 10**9, "bbox": [1, 1, 9, 9]} for i, id_ in enumerate(ids)
    ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 7 * 10**9, "name": "egg"}]}
    report = run(source, tmp_path / "out", content)
    assert report["images"] == {"found": 4, "converted": 2, "refused": 2}
    assert report["boxes"] == {"found": 4, "converted": 2, "clipped": 0, "refused": 2, "dropped": 0}
    assert "needs a whole number or text as id" in reasons(report)


def test_a_pipe_is_passed_over_and_said_so(write_coco, tmp_path):
    source = write_coco(2)
    os.mkfifo(source / "pipe.json")
    report = convert(source, tmp_path / "out")
    assert "pipe.json: passed over: not a regular file" in reasons(report)


def test_a_file_that_the_disk_does_not_give_is_named(source, tmp_path):
    draw(source / "a.jpg", 1)
    (source / "broken.json").symlink_to("/proc/self/mem")  # a regular file whose first bytes cannot be read
    with pytest.raises(InvalidInput, match=r"broken\.json: .*not readable: Input/output error"):
        convert(source, tmp_path / "out")


def test_more_refusals_than_anyone_reads_are_told_as_one(write_coco, tmp_path, monkeypatch):
    monkeypatch.setattr(coco_boxes, "MOST_FINDINGS", 3)
    report = convert(write_coco(2, {0: [[1, 1, 5, 5], *[[1, 1, -5, 5]] * 9]}), tmp_path / "out")
    assert report["boxes"] == {"found": 10, "converted": 1, "clipped": 0, "refused": 9, "dropped": 0}
    assert [finding["boxes"] for finding in report["findings"][:4]] == [1, 1, 1, 6]
    assert "5 more boxes" in reasons(report)


def test_the_split_of_the_source_is_kept_and_its_leaks_are_told(source, tmp_path):
    for i, split in enumerate(("train", "train", "valid", "test2017", "more")):
        draw(source / split / f"{i}.png", i, (128, 96))
    Image.open(source / "train" / "0.png").save(source / "valid" / "again.jpg", quality=70)
    Image.open(source / "train" / "1.png").save(source / "more" / "again.jpg", quality=70)
    for folder in sorted(source.iterdir()):
        names = [path.name for path in sorted(folder.iterdir())]
        content = coco([{"id": i, "file_name": name} for i, name in enumerate(names)], [])
        (folder / "_annotations.coco.json").write_text(json.dumps(content))
    report = convert(source, tmp_path / "out", params=SplitParams(keep_source=True))
    splits = {entry.image: entry.split for entry in load_dataset(tmp_path / "out").entries}
    assert splits.pop("more/4.png") in ("train", "val", "test")
    assert splits == {
        "train/0.png": "train",
        "train/1.png": "train",
        "more/again.jpg": "train",
        "valid/2.png": "val",
        "valid/again.jpg": "val",
        "test2017/3.png": "test",
    }
    assert "are in train and val, such as train/0.png and valid/again.jpg" in reasons(report)


def test_scans_must_cover_every_image(write_coco, tmp_path):
    source = write_coco(3)
    scans = scan_images(source, ["images/000.jpg", "images/002.jpg"])
    with pytest.raises(InvalidInput, match=r"001\.jpg: the scans must cover every image"):
        convert(source, tmp_path / "out", scans=scans)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([0, 1, 10, 20, "a.jpg", "../a.jpg"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NUMBER = st.integers(-20, 120) | st.floats() | st.just(HUGE) | JSON
IMAGE = JSON | st.fixed_dictionaries(
    {
        "id": st.integers(0, 3) | JSON,
        "file_name": st.sampled_from(["a.jpg", "b.jpg", "cut.jpg", "gone.jpg", "../a.jpg"]) | JSON,
    },
    optional={"width": st.just(96) | NUMBER, "height": st.just(64) | NUMBER},
)
BOX = JSON | st.fixed_dictionaries(
    {
        "image_id": st.integers(0, 3) | JSON,
        "category_id": st.sampled_from([10, 20]) | JSON,
        "bbox": st.lists(NUMBER, min_size=4, max_size=4) | JSON,
    },
    optional={"id": st.integers(0, 2) | JSON, "iscrowd": st.integers(0, 1) | JSON},
)
CATEGORY = JSON | st.fixed_dictionaries(
    {"id": st.sampled_from([10, 20]) | JSON, "name": st.sampled_from(["apple", "mik"]) | JSON}
)


@pytest.fixture(scope="module")
def three_images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("property") / "source"
    draw(folder / "a.jpg", 1)
    whole = draw(folder / "b.jpg", 2).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[:-300])
    return folder


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(images=st.lists(IMAGE, max_size=5), boxes=st.lists(BOX, max_size=6), categories=st.lists(CATEGORY, max_size=3))
def test_any_coco_is_accounted_for_and_never_a_crash(three_images, images, boxes, categories):
    out = three_images.parent / "out"
    good = [{"id": "good", "file_name": "a.jpg"}, *images]
    content = {"images": good, "annotations": boxes, "categories": categories}
    report = run(three_images, out, content)  # raises if the counts do not add up
    dataset = load_dataset(out)
    listed = {item["file_name"] for item in good if isinstance(item, dict) and isinstance(item.get("file_name"), str)}
    assert report["boxes"]["found"] == len(boxes)
    assert report["images"]["found"] >= len(good) + len({"a.jpg", "b.jpg", "cut.jpg"} - listed)
    for entry in dataset.entries:
        labels = dataset.labels(entry)
        corners = cxcywh_to_xyxy(labels[:, 1:], 1, 1)
        assert len(labels) == entry.boxes
        assert np.isin(labels[:, 0], range(len(dataset.names))).all()
        assert (corners >= -1e-7).all()
        assert (corners <= 1 + 1e-7).all()
        assert (labels[:, 3:] > 0).all()


def _account(source: Path) -> tuple:
    read = read_annotations(source)
    images = [(image.image, image.size, image.boxes.tolist(), list(image.places), image.split) for image in read.images]
    return images, read.names, read.findings, read.images_found, read.boxes_found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(images=st.lists(IMAGE, max_size=5), boxes=st.lists(BOX, max_size=8), block=st.integers(100, 300))
def test_column_by_column_one_by_one_and_in_pieces_are_the_same(three_images, images, boxes, block):
    good = [{"id": "good", "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}, *images]
    plain = [{"id": i, "image_id": 9, "category_id": 10, "bbox": [i, 1, 5, 5]} for i in (1, 2, 2, 1)]
    content = coco(good, [*plain[:2], *boxes, *plain[2:]])
    (three_images / "annotations.json").write_text(json.dumps(content))
    expected = _account(three_images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_reader, "read_document", partial(read_document, part=block))
        assert _account(three_images) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_reader, "_READERS", {})
        assert _account(three_images) == expected
        patch.setattr(coco_boxes, "tabulate", lambda values, tabulate=coco_boxes.tabulate: tabulate(()))
        assert _account(three_images) == expected
    longest = max(len(json.dumps(value)) for value in [*good, *boxes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_reader, "read_document", partial(read_document, small=0, block=max(block, longest // 8)))
        assert _account(three_images) == expected


SIDE = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30)


@given(st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE), min_size=1, max_size=20))
def test_numbers_read_from_their_text_are_those_of_python_to_the_last_bit(boxes):
    elements = [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)]
    expected = [[float(side) for side in box] for box in boxes]
    text = json.dumps(elements)
    for table in (read_alike(text.encode()).table, tabulate(json.loads(text))):
        assert table.boxes.tobytes() == np.array(expected).tobytes()


PLAIN = '{"id": %d, "image_id": 1, "category_id": 10, "bbox": [1, 1, 9, 9], "note": %s}'


@pytest.mark.parametrize(
    "element",
    [
        PLAIN % (7, '"}, {"'),
        PLAIN % (7, '"é }] \\ud83d\\ude00"'),
        PLAIN % (7, '[{"a": 1}, {"a": 1}]'),
        PLAIN % (7, '{"a": 1, "a": 2}'),
        PLAIN % (7, '1, "note": 1'),
        PLAIN % (7, '1, "category_id": 20'),
        PLAIN % (7, "7253918460027719"),
        PLAIN % (7, '"\\ud800"'),
        PLAIN % (7, "1, "),
        PLAIN % (7, "01"),
        PLAIN % (7, '"\x01"'),
        PLAIN % (7, "[" * 100_000 + "]" * 100_000),
        PLAIN % (2**63, "1"),
        PLAIN.replace("[1, 1, 9, 9]", "[1, 1, -9, 9]") % (7, "1"),
        PLAIN.replace("[1, 1, 9, 9]", "[-0, -0, 900, 9]") % (7, "1"),
        PLAIN.replace("[1, 1, 9, 9]", "[1, 1, 9, 100000000000000000000]") % (7, "1"),
        PLAIN.replace('"image_id"', '"im\\u0061ge_id"') % (7, "1"),
        PLAIN.replace('"note"', '"iscrowd": 1, "note"') % (7, "1"),
        '{"annotations": [{}]}',
        "{}",
        "",
    ],
)
def test_elements_read_from_their_text_are_those_that_are_parsed(three_images, element):
    elements = [PLAIN % (i, 1) for i in range(3)]
    head = '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": '
    for place in range(4):
        inner = ", ".join([*elements[:place], element, *elements[place:]])
        text = head + '[{"id": 10, "name": "apple"}], "annotations": [' + inner + "]}"
        for spoilt in (text.encode(), text.encode().replace(b"note", b"n\xff")):
            (three_images / "annotations.json").write_bytes(spoilt)
            accounts = [_account_or_refusal(three_images, {}, 1)]
            accounts += [_account_or_refusal(three_images, coco_reader._READERS, part) for part in (1, 200, 2**20)]
            assert accounts[1:] == accounts[:1] * 3


def test_only_the_list_of_the_file_itself_is_read_from_its_text(tmp_path):
    path = tmp_path / "a.json"
    elements = [json.loads(PLAIN % (i, i)) for i in range(5)]
    path.write_text(json.dumps({"annotations": elements, "images": [{}]}, indent=1))
    document = read_document(path, coco_reader._READERS, part=1)
    assert [piece.table.ids.tolist() for piece in document.pieces("annotations")] == [[i] for i in range(5)]
    for inner in ({"annotations": elements[:2]}, [{"annotations": elements[:2]}], {'"annotations': elements[:2]}):
        path.write_text(json.dumps({"info": inner, "annotations": elements, "images": [{}]}))
        document = read_document(path, coco_reader._READERS, part=1)
        assert list(document.pieces("annotations")) == [elements]


def _account_or_refusal(source: Path, readers: dict, part: int) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_reader, "read_document", lambda path, _: read_document(path, readers, part=part))
        try:
            return _account(source)
        except InvalidInput as error:
            return str(error)


def test_the_scan_itself_never_raises(tmp_path):
    whole = draw(tmp_path / "a.png", 1).read_bytes()
    rng = np.random.default_rng(0)
    for i in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 5):
            data[place] = rng.integers(0, 256)
        (tmp_path / f"{i}.png").write_bytes(data[: rng.integers(1, len(data) + 1)])
    (tmp_path / "folder.jpg").mkdir()
    names = [*(f"{i}.png" for i in range(60)), "folder.jpg", "gone.jpg", "a.png"]
    scans = scan_images(tmp_path, names)
    assert list(scans) == names
    assert scans["a.png"].problem is None
    assert scans["folder.jpg"].problem == "an image must be a regular file"


INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.one_of(st.dictionaries(INT64, st.integers(0, 9)), st.dictionaries(st.integers(-5, 30), st.integers(0, 9))))
def test_ids_that_lie_close_or_far_apart_are_looked_up_alike(numbers):
    keys = [*numbers, *(key + 1 for key in numbers if key < 2**63 - 1), -(2**63), 2**63 - 1, 0, 7]
    found = coco_boxes._Lookup(numbers).find(np.array(keys, dtype=np.int64))
    assert found.tolist() == [numbers.get(key, -1) for key in keys]
