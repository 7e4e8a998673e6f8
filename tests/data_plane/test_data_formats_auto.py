"""Which format a source is read as, what is passed over, and the boxes around shapes."""

import json
import math
import re

import pytest
from data_formats import QUICK, assert_adds_up, boxes, drawn, reasons, write_json
from data_pictures import coco
from hypothesis import given
from hypothesis import strategies as st

from hakka.cli import main
from hakka.data.formats import FORMATS, read_annotations
from hakka.data.formats.locate import folder_split, source_split
from hakka.data.formats.shapes import centred_bounds, ellipse_bounds, polygon_bounds, rectangle_bounds
from hakka.errors import InvalidInput

COCO = coco(
    [{"id": 1, "file_name": "a.jpg", "width": 96, "height": 64}],
    [{"id": 1, "image_id": 1, "category_id": 10, "bbox": [1, 2, 8, 7]}],
)
LABELME = {"shapes": [{"label": "apple", "points": [[1, 2], [9, 9]], "shape_type": "rectangle"}]}
VIA_REGION = {
    "shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 8, "height": 7},
    "region_attributes": {"label": "apple"},
}
VIA = {"1": {"filename": "a.jpg", "size": 3, "regions": [VIA_REGION]}}
PERCENT = {"x": 100 / 96, "y": 3.125, "width": 800 / 96, "height": 10.9375, "rectanglelabels": ["apple"]}
TASK = {
    "data": {"image": "a.jpg"},
    "annotations": [
        {
            "result": [
                {"type": "rectanglelabels", "value": PERCENT, "original_width": 96, "original_height": 64},
            ]
        }
    ],
}
VOC = (
    "<annotation><filename>a.jpg</filename><object><name>apple</name><bndbox><xmin>2</xmin><ymin>3</ymin>"
    "<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


def put_all(source):
    """One photo, annotated with the same box in every format."""
    drawn(source, "a.jpg")
    write_json(source / "coco.json", COCO)
    write_json(source / "a.json", {**LABELME, "imagePath": "a.jpg"})
    write_json(source / "via.json", VIA)
    write_json(source / "tasks.json", [TASK])
    (source / "a.xml").write_text(VOC)
    (source / "a.txt").write_text(f"0 {5 / 96} {5.5 / 64} {8 / 96} {7 / 64}\n")
    (source / "data.yaml").write_text("names: [apple]\n")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_same_box(source, format):  # noqa: A002
    put_all(source)
    annotations = read_annotations(source, format)
    assert annotations.format == ("coco" if format == "auto" else format)
    scale = (96, 64, 96, 64) if format == "yolo" else (1, 1, 1, 1)
    (image,) = annotations.images
    assert annotations.names[int(image.boxes[0, 0])] == "apple"
    assert list(image.boxes[0, 1:] * scale) == pytest.approx([1, 2, 9, 9])
    assert_adds_up(annotations)


def test_what_is_passed_over_is_said(source):
    put_all(source)
    write_json(source / "package.json", {"name": "food"})
    (source / "layout.xml").write_text("<layout/>")
    said = reasons(read_annotations(source))
    assert "a.json: passed over: the source is read as COCO JSON, not as LabelMe JSON" in said
    for words in ("via.json: passed over", "tasks.json: passed over", "a.xml: passed over", "data.yaml: passed over"):
        assert words in said
    assert "package.json: passed over: COCO needs the lists" in said
    assert "layout.xml: passed over: VOC has the root element annotation, got 'layout'" in said


def test_the_format_that_lists_the_most_images_is_taken(source):
    drawn(source, "a.jpg", "b.jpg", "c.jpg")
    write_json(source / "tasks.json", [TASK])
    for name in "abc":
        write_json(source / f"{name}.json", {**LABELME, "imagePath": f"{name}.jpg"})
    annotations = read_annotations(source)
    assert annotations.format == "labelme"
    assert annotations.files == ("a.json", "b.json", "c.json")
    assert "tasks.json: passed over: the source is read as LabelMe JSON, not as Label Studio" in reasons(annotations)
    write_json(source / "tasks.json", [TASK] * 4)
    annotations = read_annotations(source)
    assert annotations.format == "labelstudio"
    assert "a.json and 2 more: passed over" in reasons(annotations)


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "auto"])
def test_a_format_that_is_not_there_is_one_sentence(source, format):  # noqa: A002
    drawn(source, "a.jpg")
    (source / "other.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"source: no .* the folder holds 1 images and 2 files in all"):
        read_annotations(source, format)


def test_thousands_of_strangers_are_told_in_a_few_sentences(source):
    drawn(source, "a.jpg")
    write_json(source / "coco.json", COCO)
    for i in range(50):
        write_json(source / "other" / f"{i}.json", [i])
    assert len(read_annotations(source).findings) == 21


def test_a_json_file_that_every_format_likes_is_read_as_one(source):
    drawn(source, "a.jpg")
    write_json(
        source / "all.json", {**VIA, **LABELME, "imagePath": "a.jpg", "data": {"image": "a.jpg"}, "annotations": []}
    )
    annotations = read_annotations(source)
    assert annotations.format == "labelme"
    assert boxes(annotations) == {"a.jpg": [("apple", 1, 2, 9, 9)]}


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("annotations/instances_val2017.json", "val"),
        ("train/a.jpg", "train"),
        ("Validation/x.json", "val"),
        ("testing.json", "test"),
        ("train/test.jpg", None),
        ("images/trainer.jpg", None),
        ("a.jpg", None),
        ("", None),
    ],
)
def test_the_split_is_a_word_of_the_path(path, split):
    assert source_split(path) == split


def test_of_an_image_only_the_folder_says_the_split():
    assert folder_split("val2017/train.jpg") == "val"
    assert folder_split("test.jpg") is None


SIDES = st.floats(1, 100)
ANGLES = st.floats(-20, 20)


@QUICK
@given(SIDES, SIDES, SIDES, SIDES, ANGLES)
def test_bounds_hold_every_corner_of_a_turned_box_and_touch_them(x, y, width, height, angle):
    cos, sin = math.cos(angle), math.sin(angle)

    def turned(px, py):
        return x + px * cos - py * sin, y + px * sin + py * cos

    corners = [turned(px, py) for px in (0, width) for py in (0, height)]
    assert rectangle_bounds(x, y, width, height, angle) == pytest.approx(polygon_bounds(corners), abs=1e-9)
    corners = [turned(px, py) for px in (-width / 2, width / 2) for py in (-height / 2, height / 2)]
    assert centred_bounds(x, y, width, height, angle) == pytest.approx(polygon_bounds(corners), abs=1e-9)
    turns = [2 * math.pi * i / 3600 for i in range(3600)]
    rim = [turned(width * math.cos(t), height * math.sin(t)) for t in turns]
    assert ellipse_bounds(x, y, width, height, angle) == pytest.approx(polygon_bounds(rim), abs=1e-3)


def test_json_of_another_kind_is_no_annotation(source):
    drawn(source, "a.jpg")
    for value in ([], {}, 3, None, "a.jpg", [[]], {"_via_img_metadata": {}}, {"_via_img_metadata": 3}, [{"id": 1}]):
        (source / "x.json").write_text(json.dumps(value))
        with pytest.raises(InvalidInput, match="not an annotation file"):
            read_annotations(source)


def test_the_help_of_convert_names_every_format(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    words = re.findall(r"\w+", capsys.readouterr().out)
    assert set(FORMATS) <= set(words)
