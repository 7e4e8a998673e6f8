"""Label Studio in: its exports, its paths of photos, its brush, and what a hostile file holds."""

import numpy as np
import pytest
from data_formats import QUICK, SENSOR, assert_adds_up, boxes, converted, drawn, reasons, trees, write_json
from hypothesis import given
from hypothesis import strategies as st

from hakka.data.convert import convert
from hakka.data.formats import read_annotations
from hakka.data.formats.brush import brush_bounds


def result(kind, value, size=(96, 64), **fields):
    sizes = {} if size is None else {"original_width": size[0], "original_height": size[1]}
    return {
        **sizes,
        "image_rotation": 0,
        "value": value,
        "id": fields.pop("id", "Dx_aB91ISN"),
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        **fields,
    }


def rectangle(label="apple", x=25, y=50, width=50, height=25, rotation=0, **fields):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": [label]}
    return result("rectanglelabels", value, **fields)


def task(results, image="/data/upload/1/0a1b2c3d-a.jpg", **fields):
    annotation = {"id": 4, "completed_by": 1, "result": results, "was_cancelled": False, "ground_truth": False}
    return {
        "id": 1,
        "annotations": [annotation],
        "file_upload": "0a1b2c3d-a.jpg",
        "drafts": [],
        "predictions": [],
        "data": {"image": image},
        "meta": {},
        **fields,
    }


BOX = ("apple", 24, 32, 72, 48)


def test_shapes_in_percent_become_the_boxes_around_them(source):
    drawn(source, "a.jpg")
    results = [
        rectangle("pear"),
        rectangle(x=50, y=25, width=25, height=25, rotation=90),  # 24 x 16 pixels, turned around (48, 16)
        rectangle(x=50, y=25, width=25, height=25, rotation=-360),
        result("ellipselabels", {"x": 50, "y": 50, "radiusX": 25, "radiusY": 12.5, "ellipselabels": ["apple"]}),
        result(
            "ellipselabels",
            {"x": 50, "y": 50, "radiusX": 25, "radiusY": 12.5, "rotation": 90, "ellipselabels": ["apple"]},
        ),
        result("polygonlabels", {"points": [[25, 25], [50, 25], [50, 75]], "polygonlabels": ["apple"]}),
        result("labels", {"x": 25, "y": 50, "width": 50, "height": 25, "labels": ["apple"]}, id="two"),
        result("rectangle", {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0}, id="two"),  # its twin
    ]
    write_json(source / "export.json", [task(results)])
    annotations = read_annotations(source)
    assert annotations.format == "labelstudio"
    assert annotations.names == ("apple", "pear")
    assert boxes(annotations) == {
        "a.jpg": [
            ("pear", 24, 32, 72, 48),
            ("apple", 32, 16, 48, 40),
            ("apple", 48, 16, 72, 32),
            ("apple", 24, 24, 72, 40),
            ("apple", 40, 8, 56, 56),
            ("apple", 24, 16, 48, 48),
            ("apple", 24, 32, 72, 48),
        ]
    }
    assert annotations.boxes_found == 7
    assert_adds_up(annotations)


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (rectangle(width=0), "its sides must be > 0, got 0 and 25"),
        (rectangle(x="25"), "must be finite numbers"),
        (rectangle(x=1e300), "must be finite numbers"),
        (rectangle(rotation="left"), "must be finite numbers"),
        (rectangle(size=(10, 10)), "cannot be 96 x 64 and 10 x 10 at once"),
        (rectangle(image_rotation=90), "image_rotation must be 0, got 90"),
        (rectangle(3), "the class name must be text, got 3"),
        (result("rectanglelabels", {"x": 1, "y": 1, "width": 9, "height": 9}), "must have one label, got []"),
        (
            result("rectanglelabels", {"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": ["a", "b"]}),
            "must have one label, got ['a', 'b']",
        ),
        (result("keypointlabels", {"x": 1, "y": 1, "width": 1, "keypointlabels": ["a"]}), "a keypoint has no area"),
        (result("polygonlabels", {"points": [[1, 1]], "polygonlabels": ["a"]}), "must have 3 points or more"),
        (result("brushlabels", {"format": "rle", "rle": [0, 1], "brushlabels": ["a"]}), "rle ends before"),
        (result("brushlabels", {"rle": "AAAA", "brushlabels": ["a"]}), "rle must be a list"),
        (result("brushlabels", {"rle": [300], "brushlabels": ["a"]}), "rle must be a list of bytes"),
        (result("brushlabels", {"rle": [10**30], "brushlabels": ["a"]}), "rle must be a list of bytes"),
        (result("bitmask", {"points": 3, "labels": ["a"]}), "must have 3 points or more"),
        ("result", "must be an object"),
    ],
)
def test_a_result_that_gives_no_box_is_refused_with_the_reason(source, result, word):
    drawn(source, "a.jpg")
    write_json(source / "export.json", [task([rectangle(id="one"), result])])
    annotations = read_annotations(source)
    assert boxes(annotations) == {"a.jpg": [BOX]}
    assert word in reasons(annotations)
    assert "result 1 of task 0 of export.json: " in reasons(annotations)
    assert annotations.boxes_found == 2
    assert_adds_up(annotations)


def test_what_marks_no_place_is_no_box(source):
    drawn(source, "a.jpg")
    texts = [
        result("choices", {"choices": ["fresh"]}),
        result("textarea", {"text": ["a"]}),
        result("choices", {"choices": []}),
    ]
    write_json(source / "export.json", [task([*texts, rectangle()])])
    annotations = read_annotations(source)
    assert boxes(annotations) == {"a.jpg": [BOX]}
    assert annotations.boxes_found == 1
    assert "a result of type 'choices' is no shape: passed over (and 1 more like this)" in reasons(annotations)


def test_the_first_annotation_that_was_not_cancelled_counts(source):
    drawn(source, "a.jpg", "b.jpg", "c.jpg", "d.jpg")

    def annotation(*results, cancelled=False):
        return {"result": list(results), "was_cancelled": cancelled}

    two = [annotation(rectangle("pear"), cancelled=True), annotation(rectangle()), annotation(rectangle(), rectangle())]
    tasks = [
        task([], "a.jpg", annotations=two),
        task([], "b.jpg", annotations=[annotation(rectangle(), cancelled=True)]),
        task([], "c.jpg", annotations=[], predictions=[annotation(rectangle())]),
        task([], "d.jpg"),
    ]
    write_json(source / "export.json", tasks)
    annotations = read_annotations(source)
    assert boxes(annotations) == {"a.jpg": [BOX], "d.jpg": []}
    assert (annotations.images_found, annotations.boxes_found) == (4, 3)
    for word in (
        "an annotation was cancelled",
        "result of a further annotation, number 1 of task 0 of export.json: the first annotation counts",
        "task 1 of export.json: has no annotation: it was not labelled",
        "task 2 of export.json: has no annotation: it was not labelled",
    ):
        assert word in reasons(annotations)
    assert_adds_up(annotations)


@pytest.mark.parametrize(
    "image",
    [
        "a.jpg",
        "/data/local-files/?d=set/train/a.jpg",
        "/data/local-files/?d=set%2Ftrain%2Fa.jpg",
        "http://localhost:8080/data/local-files/?d=train/a.jpg",
        "/data/upload/1/0a1b2c3d-a.jpg",
        "/data/upload/0a1b2c3d-a.jpg",
        "upload/1/0a1b2c3d-a.jpg",
        "s3://bucket/set/train/a.jpg",
        "gs://bucket/train/a.jpg",
        "https://example.org/a.jpg?X-Amz-Signature=abc&x=1",
        "\\data\\media\\a.jpg",
    ],
)
def test_the_photo_is_found_by_the_end_of_its_address(source, image):
    drawn(source, "train/a.jpg", "train/b.jpg")
    write_json(source / "export.json", [task([rectangle()], image)])
    annotations = read_annotations(source)
    assert boxes(annotations) == {"train/a.jpg": [BOX]}
    assert annotations.images[0].split == "train"
    assert_adds_up(annotations)


def test_the_digits_of_an_upload_stay_where_the_file_has_them_too(source):
    drawn(source, "0a1b2c3d-a.jpg", "a.jpg")
    write_json(source / "export.json", [task([rectangle()])])
    assert list(boxes(read_annotations(source))) == ["0a1b2c3d-a.jpg"]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"image": "/data/upload/1/0a1b2c3d-gone.jpg"}, "no such image file"),
        ({"image": "data:image/png;base64,AAAA"}, "the image must be a file"),
        ({"image": "../../etc/passwd"}, "must not leave the source folder"),
        ({"image": 3}, "one value of its data must be an image, got []"),
        ({"left": "a.jpg", "right": "b.jpg"}, "one value of its data must be an image, got ['a.jpg', 'b.jpg']"),
        ({"image": "http://[a.jpg"}, "no such image file"),
        ("a.jpg", "one value of its data must be an image"),
    ],
)
def test_a_task_without_its_photo_is_refused_with_its_boxes(source, data, word):
    drawn(source, "a.jpg", "b.jpg")
    write_json(
        source / "export.json", [task([rectangle()], "b.jpg"), {**task([rectangle(), rectangle()]), "data": data}]
    )
    annotations = read_annotations(source)
    assert boxes(annotations) == {"b.jpg": [BOX]}
    assert word in reasons(annotations)
    assert_adds_up(annotations)


def test_the_photo_may_have_any_key_and_comes_beside_other_texts(source):
    drawn(source, "a.jpg")
    data = {"photo": "/data/upload/1/0a1b2c3d-a.jpg", "title": "breakfast", "number": 3}
    write_json(source / "export.json", [task([rectangle()], data=data)])
    assert boxes(read_annotations(source)) == {"a.jpg": [BOX]}


def test_json_min_single_tasks_storage_files_and_old_completions_are_read(source):
    value = {**rectangle()["value"], "original_width": 96, "original_height": 64}
    minimal = {"image": "/data/upload/1/0a1b2c3d-a.jpg", "id": 1, "label": [value], "annotator": 1, "annotation_id": 4}
    drawn(source, "a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    write_json(source / "min.json", [{"image": "e.jpg", "id": 2, "annotator": 1}, minimal])
    write_json(source / "task.json", task([rectangle()], "b.jpg"))
    write_json(source / "7.json", {"id": 7, "result": [rectangle()], "task": {"id": 1, "data": {"image": "c.jpg"}}})
    write_json(source / "old.json", [{"id": 1, "data": {"image": "d.jpg"}, "completions": [{"result": [rectangle()]}]}])
    annotations = read_annotations(source)
    assert boxes(annotations) == {name: [BOX] for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")} | {"e.jpg": []}
    assert_adds_up(annotations)


def test_without_a_size_the_shares_count_and_a_turn_needs_one(source, tmp_path):
    drawn(source, "a.jpg")
    write_json(source / "export.json", [task([rectangle(size=None), rectangle(size=None, rotation=30)])])
    report = convert(source, tmp_path / "out")
    assert report["boxes"] == {"found": 2, "converted": 1, "clipped": 0, "refused": 1, "dropped": 0}
    assert converted(tmp_path / "out", "a.jpg") == [[24, 32, 72, 48]]
    assert "a rotation of 30 degrees needs original_width" in str(report["findings"])


def test_boxes_follow_a_photo_that_exif_turns(source, tmp_path):
    drawn(source, "sensor.jpg", "upright.jpg", **SENSOR)  # 96 x 64 on the sensor, 64 x 96 upright
    tasks = [
        task([rectangle(x=0, y=0, width=25, height=25)], "sensor.jpg"),
        task([rectangle(x=75, y=0, width=25, height=25, size=(64, 96))], "upright.jpg"),
    ]
    write_json(source / "export.json", tasks)
    convert(source, tmp_path / "out")
    assert converted(tmp_path / "out", "sensor.jpg") == [[48, 0, 64, 24]]
    assert converted(tmp_path / "out", "upright.jpg") == [[48, 0, 64, 24]]


def packed(values):
    """RGBA values packed as Label Studio packs them: runs of at most 2^16, and single values."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    edges = np.flatnonzero(np.diff(values)) + 1
    for piece in np.split(values, edges):
        for start in range(0, len(piece), 2**16):
            length, value = len(piece[start : start + 2**16]), int(piece[0])
            for i, size in enumerate((3, 4, 8, 16)):
                if length <= 2**size:
                    single = length == 1
                    bits += ("0" if single else "1") + f"{i:02b}" + f"{length - 1:0{size}b}" + f"{value:08b}"
                    break
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def mask_values(width, height, left, top, right, bottom):
    rgba = np.zeros((height, width, 4), dtype=np.uint8)
    rgba[top:bottom, left:right] = (10, 20, 30, 255)
    return rgba.ravel()


@pytest.mark.parametrize("box", [(3, 2, 9, 7), (0, 0, 20, 10), (19, 9, 20, 10), (0, 3, 20, 4), (5, 0, 6, 10)])
def test_a_brush_becomes_the_box_around_its_pixels(source, box):
    drawn(source, "a.jpg", size=(20, 10))
    value = {"format": "rle", "rle": packed(mask_values(20, 10, *box)), "brushlabels": ["apple"]}
    write_json(source / "export.json", [task([result("brushlabels", value, (20, 10))])])
    assert boxes(read_annotations(source)) == {"a.jpg": [("apple", *box)]}


@QUICK
@given(st.lists(st.booleans(), min_size=48, max_size=48))
def test_any_brush_has_the_bounds_of_its_pixels(pixels):
    mask = np.array(pixels).reshape(6, 8)
    values = np.repeat(mask.ravel() * np.uint8(255), 4)
    found = brush_bounds(packed(values), (8, 6))
    if not mask.any():
        assert found == "the mask is empty"
    else:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert found == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


@QUICK
@given(st.lists(st.integers(-1, 256), max_size=60), st.tuples(*[st.integers(1, 40)] * 2))
def test_no_brush_stream_crashes(rle, size):
    head = packed(np.zeros(4 * size[0] * size[1], dtype=np.uint8))[:7]
    for stream in (rle, head + rle):
        brush_bounds(stream, size)


KEYS = (
    "data",
    "image",
    "annotations",
    "result",
    "value",
    "rectanglelabels",
    "x",
    "y",
    "width",
    "points",
    "rle",
    "type",
)


@QUICK
@given(trees(*KEYS), trees(*KEYS))
def test_any_tree_is_read_or_refused(tmp_path_factory, value, other):
    source = drawn(tmp_path_factory.mktemp("labelstudio"), "a.jpg")
    tasks = [task([rectangle(), value, result("rectanglelabels", other)], "a.jpg"), {**task([]), "data": value}]
    tasks += [
        {**task([], "a.jpg"), "annotations": other},
        value,
        {"image": other, "label": [{"xlabels": other}, value]},
    ]
    write_json(source / "export.json", tasks)
    assert_adds_up(read_annotations(source, "labelstudio"))


@QUICK
@given(st.lists(st.tuples(st.sampled_from("abc"), *[st.floats(0, 60)] * 2, *[st.floats(1, 40)] * 2), max_size=8))
def test_valid_files_give_exactly_the_boxes(tmp_path_factory, items):
    source = drawn(tmp_path_factory.mktemp("labelstudio"), "a.jpg")
    write_json(source / "export.json", [task([rectangle(*item) for item in items], "a.jpg")])
    got = boxes(read_annotations(source))["a.jpg"]
    for (name, *sides), (label, x, y, w, h) in zip(got, items, strict=True):
        assert name == label
        assert sides == pytest.approx([0.96 * x, 0.64 * y, 0.96 * (x + w), 0.64 * (y + h)], abs=1e-3)
