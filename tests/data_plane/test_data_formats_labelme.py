"""LabelMe in: what the tool and its relatives write, and what a hostile file holds."""

import json
import math
import os

import pytest
from data_formats import QUICK, SENSOR, assert_adds_up, boxes, converted, drawn, reasons, trees, write_json
from hypothesis import given
from hypothesis import strategies as st

from hakka.data.convert import convert
from hakka.data.formats import read_annotations
from hakka.errors import InvalidInput


def labelme(shapes, image="a.jpg", size=(96, 64), **fields):
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
        **fields,
    }


def shape(label, points, kind="rectangle"):
    return {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}}


def test_every_shape_with_an_area_becomes_the_box_around_it(source):
    drawn(source, "a.jpg")
    shapes = [
        shape("pear", [[10, 20], [30.5, 40]]),
        shape("pear", [[30, 40], [10, 20]]),  # drawn from the lower right
        shape("apple", [[5, 6], [25, 8], [15, 30]], "polygon"),
        {"label": "apple", "points": [[5, 6], [25, 8], [15, 30]]},  # as LabelMe 3 wrote it
        shape("apple", [[40, 30], [43, 34]], "circle"),
        shape("apple", [[50, 10], [60, 20], [50, 30], [40, 20]], "oriented_rectangle"),
        shape("apple", [[50, 10], [60, 20], [50, 30], [40, 20]], "rotation"),
        shape("apple", [[8, 9], [10, 12]], "mask"),
    ]
    write_json(source / "a.json", labelme(shapes))
    annotations = read_annotations(source)
    assert annotations.format == "labelme"
    assert annotations.names == ("apple", "pear")
    assert boxes(annotations) == {
        "a.jpg": [
            ("pear", 10, 20, 30.5, 40),
            ("pear", 10, 20, 30, 40),
            ("apple", 5, 6, 25, 30),
            ("apple", 5, 6, 25, 30),
            ("apple", 35, 25, 45, 35),
            ("apple", 40, 10, 60, 30),
            ("apple", 40, 10, 60, 30),
            ("apple", 8, 9, 11, 13),  # the corner pixels of a mask are inside
        ]
    }
    assert_adds_up(annotations)


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        (shape("a", [[1, 2]], "point"), "a point has no area"),
        (shape("a", [[1, 2], [3, 4]], "line"), "a line has no area"),
        (shape("a", [[1, 2], [3, 4], [5, 6]], "linestrip"), "a linestrip has no area"),
        (shape("a", [[1, 2], [3, 4]], "ellipse"), "shape_type must be one of"),
        (shape("a", [[1, 2], [3, 4]], ["polygon"]), "shape_type must be one of"),
        (shape("a", [[1, 2]]), "must have 2 points or more"),
        (shape("a", [[1, 2], [3, 4]], "polygon"), "must have 3 points or more"),
        (shape("a", [[1, 2], [3, 4], [5, 6]], "circle"), "a circle must have 2 points, got 3"),
        (shape("a", [[1, 2], [1, 2]], "circle"), "width must be > 0"),
        (shape("a", [[1, 2], [1, 9]]), "width must be > 0"),
        (shape("a", [[1, 2], [9, 2]]), "height must be > 0"),
        (shape("a", [[1, math.nan], [9, 9]]), "two finite numbers"),
        (shape("a", [[1, 10**400], [9, 9]]), "two finite numbers"),
        (shape("a", [[1, "2"], [9, 9]]), "two finite numbers"),
        (shape("a", [[1, 2, 3], [9, 9]]), "two finite numbers"),
        (shape("a", {"x": 1}), "must have 2 points or more"),
        (shape(None, [[1, 2], [9, 9]]), "the class name must be text"),
        (shape(" ", [[1, 2], [9, 9]]), "the class name must be text"),
        (shape("\ud800", [[1, 2], [9, 9]]), "the class name must be text"),
        ("shape", "must be an object"),
    ],
)
def test_a_shape_that_gives_no_box_is_refused_with_the_reason(source, shape, word):
    drawn(source, "a.jpg")
    (source / "a.json").write_text(json.dumps(labelme([{"label": "b", "points": [[1, 1], [9, 1], [9, 9]]}, shape])))
    annotations = read_annotations(source, "labelme")
    assert len(boxes(annotations)["a.jpg"]) == 1
    assert word in reasons(annotations)
    assert "shape 1 of a.json: " in reasons(annotations)
    assert_adds_up(annotations)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("../images/b.jpg", None),
        ("..\\images\\b.jpg", None),
        ("b.jpg", None),
        ("C:\\Users\\me\\images\\b.jpg", "of another place"),
        ("/home/me/b.jpg", "of another place"),
        ("../../../b.jpg", "of another place"),
        ("gone.jpg", "with the same stem"),
        (None, "with the same stem"),
    ],
)
def test_the_image_is_found_where_the_path_is_of_another_place(source, path, word):
    drawn(source, "images/b.jpg", "images/c.jpg")
    write_json(source / "labels" / "b.json", labelme([shape("apple", [[1, 2], [9, 9]])], path))
    annotations = read_annotations(source)
    assert list(boxes(annotations)) == ["images/b.jpg"]
    assert (word or "") in reasons(annotations)
    assert ("taken" in reasons(annotations)) == (word is not None)
    assert_adds_up(annotations)


def test_an_image_that_is_nowhere_or_taken_is_refused_with_its_boxes(source):
    drawn(source, "a.jpg", "plain.jpg")
    one = shape("apple", [[1, 2], [9, 9]])
    write_json(source / "a.json", labelme([one]))
    write_json(source / "again.json", labelme([one, one]))
    write_json(source / "gone.json", labelme([one, one, one], "gone.jpg"))
    write_json(source / "odd.json", labelme([one], "plain.jpg", size=(0, "64")))
    annotations = read_annotations(source)
    assert annotations.images_found == 4
    assert annotations.boxes_found == 7
    for word in ("listed a second time, first by a.json", "gone.jpg", "whole numbers from 1, got 0 and '64'"):
        assert word in reasons(annotations)
    assert_adds_up(annotations)


def test_no_shapes_is_a_background_and_no_file_is_none(source, tmp_path):
    drawn(source, "a.jpg", "b.jpg", "c.jpg")
    write_json(source / "a.json", labelme([]))
    write_json(source / "b.json", labelme([shape("apple", [[1, 2], [9, 9]])], "b.jpg"))
    report = convert(source, tmp_path / "out")
    assert report["images"] == {"found": 3, "converted": 2, "refused": 1}
    assert converted(tmp_path / "out", "a.jpg") == []
    assert converted(tmp_path / "out", "b.jpg") == [[1, 2, 9, 9]]


def test_boxes_follow_a_photo_that_exif_turns(source, tmp_path):
    drawn(source, "sensor.jpg", "upright.jpg", **SENSOR)  # 96 x 64 on the sensor, 64 x 96 upright
    write_json(source / "sensor.json", labelme([shape("apple", [[0, 0], [10, 20]])], "sensor.jpg", (96, 64)))
    write_json(source / "upright.json", labelme([shape("apple", [[44, 0], [64, 10]])], "upright.jpg", (64, 96)))
    convert(source, tmp_path / "out")
    assert converted(tmp_path / "out", "sensor.jpg") == [[44, 0, 64, 10]]
    assert converted(tmp_path / "out", "upright.jpg") == [[44, 0, 64, 10]]


def test_the_embedded_photo_is_not_looked_at(source):
    drawn(source, "a.jpg")
    write_json(source / "a.json", labelme([shape("apple", [[1, 2], [9, 9]])], imageData="A" * 200_000))
    assert boxes(read_annotations(source)) == {"a.jpg": [("apple", 1, 2, 9, 9)]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_other_encodings_and_line_ends_are_read(source, encoding):
    drawn(source, "a.jpg")
    text = json.dumps(labelme([shape("crème", [[1, 2], [9, 9]])]), indent=1, ensure_ascii=False).replace("\n", "\r\n")
    (source / "a.json").write_bytes(text.encode(encoding))
    assert boxes(read_annotations(source)) == {"a.jpg": [("crème", 1, 2, 9, 9)]}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ('{"shapes": [], "imagePath": "a.jpg", "shapes": [1]}', "comes twice"),
        ("[" * 100_000, "nested too deep"),
        ('{"shapes": [', "not valid JSON"),
        ("[" + "0," * 8_000_001 + "0]", "more than 8,000,000 values"),
        ("", "not valid JSON"),
    ],
)
def test_a_file_that_is_no_usable_json_is_said(source, content, word):
    drawn(source, "a.jpg")
    (source / "a.json").write_text(content)
    with pytest.raises(InvalidInput, match=word):
        read_annotations(source, "labelme")


def test_a_pipe_is_not_read(source):
    drawn(source, "a.jpg")
    write_json(source / "a.json", labelme([]))
    os.mkfifo(source / "pipe.json")
    assert "not a regular file" in reasons(read_annotations(source))


@QUICK
@given(value=trees("shapes", "imagePath", "imageWidth", "imageHeight", "label", "points", "shape_type"))
def test_any_tree_is_read_or_refused(tmp_path_factory, value):
    source = drawn(tmp_path_factory.mktemp("labelme"), "a.jpg")
    content = {"imagePath": "a.jpg", "shapes": [], **(value if isinstance(value, dict) else {"shapes": value})}
    write_json(source / "a.json", content)
    assert_adds_up(read_annotations(source, "labelme"))


@QUICK
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), *[st.floats(0, 40)] * 2, *[st.floats(0.5, 20)] * 2, st.booleans()), max_size=8
    )
)
def test_valid_files_give_exactly_the_boxes(tmp_path_factory, items):
    source = drawn(tmp_path_factory.mktemp("labelme"), "a.jpg")
    shapes = [
        shape(label, [[x, y], [x + w, y], [x + w, y + h], [x, y + h]], "polygon")
        if polygon
        else shape(label, [[x, y], [x + w, y + h]])
        for label, x, y, w, h, polygon in items
    ]
    write_json(source / "a.json", labelme(shapes))
    annotations = read_annotations(source)
    expected = [(label, x, y, x + w, y + h) for label, x, y, w, h, _ in items]
    for got, want in zip(boxes(annotations)["a.jpg"], expected, strict=True):
        assert got[0] == want[0]
        assert got[1:] == pytest.approx(want[1:], abs=1e-3)
