"""YOLO in: what data.yaml says of names and splits, odd label files, and hostile ones."""

import os
from pathlib import Path

import pytest
import yaml
from data_formats import QUICK, assert_adds_up, boxes, converted, drawn, reasons
from hypothesis import given
from hypothesis import strategies as st

from hakka.data.convert import convert
from hakka.data.formats import read_annotations
from hakka.errors import InvalidInput


def put(source: Path, name: str, content: object) -> None:
    path = source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        content = yaml.safe_dump(content)
    path.write_bytes(content if isinstance(content, bytes) else str(content).encode())


@pytest.fixture
def yolo(source):
    """A source with one photo in images/, and its labels as given."""

    def write(labels: object) -> Path:
        drawn(source, "images/a.jpg")
        put(source, "data.yaml", {"names": ["pear", "apple"]})
        put(source, "labels/a.txt", labels)
        return source

    return write


def test_boxes_polygons_and_turned_boxes_are_read(yolo, tmp_path):
    source = yolo(
        "1 0.5 0.5 0.25 0.5\n"
        "0 0.25 0.25 0.5 0.25 0.25 0.75\n"
        "1 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n"  # oriented: four corners
    )
    annotations = read_annotations(source)
    assert annotations.names == ("pear", "apple")  # the order of data.yaml is the meaning of the numbers
    assert boxes(annotations) == {
        "images/a.jpg": [
            ("apple", 0.375, 0.25, 0.625, 0.75),
            ("pear", 0.25, 0.25, 0.5, 0.75),
            ("apple", 0.25, 0.25, 0.75, 0.75),
        ]
    }
    convert(source, tmp_path / "out")
    assert converted(tmp_path / "out", "images/a.jpg")[0] == [36, 16, 60, 48]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf1 0.5 0.5 0.25 0.5\r\n\r\n",
        "1 0.5 0.5 0.25 0.5\r\n".encode("utf-16"),
        b"  1\t0.5  0.5 0.25 0.5  ",
        b"1.0 5e-1 0.5 0.25 0.5\n",
    ],
)
def test_marks_of_order_line_ends_and_spaces_do_not_matter(yolo, content):
    assert boxes(read_annotations(yolo(content))) == {"images/a.jpg": [("apple", 0.375, 0.25, 0.625, 0.75)]}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("1 0.5 0.5 0.25", "must be class cx cy w h"),
        ("1 0.5 0.5 0.25 0.5 0.9", "must be class cx cy w h"),
        ("2 0.5 0.5 0.25 0.5", "class must be a whole number from 0 to 1, got '2'"),
        ("-1 0.5 0.5 0.25 0.5", "class must be a whole number"),
        ("0.5 0.5 0.5 0.25 0.5", "class must be a whole number"),
        ("apple 0.5 0.5 0.25 0.5", "must hold finite numbers"),
        ("1 nan 0.5 0.25 0.5", "must hold finite numbers"),
        ("1 0.5 inf 0.25 0.5", "must hold finite numbers"),
        ("1 0.5 0.5 1e9 0.5", "must hold finite numbers"),
        ("1 0.5 0.5 0 0.5", "width and height must be > 0"),
        ("1 0.5 0.5 0.2 -0.5", "width and height must be > 0"),
        ("1 0.5 0.5 0.25 0.5\0", "must hold finite numbers"),
        ("\0" * 300, "must be class cx cy w h"),
    ],
)
def test_a_line_that_gives_no_box_is_refused_with_the_reason(yolo, line, word):
    annotations = read_annotations(yolo(f"0 0.5 0.5 0.25 0.5\n{line}\n"))
    assert len(annotations.images[0].boxes) == 1
    assert f"line 2 of labels/a.txt: {word}" in reasons(annotations)
    assert_adds_up(annotations)


def test_a_pipe_or_an_endless_label_file_refuses_its_image(yolo):
    source = drawn(yolo(""), "images/b.jpg", "images/c.jpg", "images/d.jpg")
    os.mkfifo(source / "labels" / "b.txt")
    with (source / "labels" / "c.txt").open("wb") as file:
        file.truncate(2**24 + 1)
    (source / "labels" / "d.txt").symlink_to("/dev/zero")
    annotations = read_annotations(source)
    assert [image.image for image in annotations.images] == ["images/a.jpg"]
    for word in (
        "labels/b.txt: not a regular file",
        "labels/c.txt: larger than 16 MiB",
        "labels/d.txt: not a regular file",
    ):
        assert word in reasons(annotations)
    assert_adds_up(annotations)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("names: {0: a, 0: b}", "a key must come once in a mapping, got '0' again in line 1"),
        ("names: [a]\nnames: [b]", "a key must come once in a mapping, got 'names' again in line 2"),
        ("names: [a, a]", "every class name may come once"),
        ("names: {1: a, 2: b}", "names must be a list"),
        ("names: [1, 2]", "names must be a list"),
        ("nc: 3", "names must be a list"),
        ("nc: 3\nnames: [a, b]", "nc must be the number of names, which are 2, got 3"),
        ("- " * 3000, "not valid YAML"),
        ("names: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("? {a: 1}\n: 2", "not valid YAML"),
        ("a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(9)) + "names: *b8", "names must be a list"),
        (b"\xff\xfe\xff", "not valid YAML"),
        (b"#" * (2**17 + 1), "larger than 128 KiB"),
        ("[" * 3000, "more than 64 brackets"),
        ("a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nnames: [a]", "merge keys .<<. are not allowed here"),
    ],
)
def test_a_data_yaml_without_usable_names_is_one_sentence(yolo, content, word):
    source = yolo("")
    put(source, "data.yaml", content)
    with pytest.raises(InvalidInput, match=word) as error:
        read_annotations(source)
    assert "\n" not in str(error.value)


def test_a_data_yaml_that_is_a_pipe_is_not_read(source):
    drawn(source, "images/a.jpg")
    os.mkfifo(source / "data.yaml")
    with pytest.raises(InvalidInput, match="not a regular file"):
        read_annotations(source)


@pytest.mark.parametrize(
    "paths",
    [
        {"path": "../datasets/food", "train": "images/train", "val": "images/val"},
        {"path": "/content/food", "train": "images/train", "val": ["images/val"]},
        {"train": "../images/train", "val": "../images/val"},
        {"train": "/content/food/images/train", "val": "C:\\food\\images\\val"},
        {"train": "./images/train/", "valid": "images/val"},
        {"train": "images/train/a.txt", "val": "lists/val.txt"},
        {},  # the words of the path say it
    ],
)
def test_the_split_is_the_one_of_data_yaml(source, paths):
    drawn(source, "images/train/a.jpg", "images/val/b.jpg", "images/train/sub/c.jpg", "images/d.jpg")
    put(source, "images/train/a.txt", "./a.jpg\n/content/food/images/train/sub/c.jpg\n")
    put(source, "lists/val.txt", "\ufeff../images/val/b.jpg\r\ngone.jpg\n")
    put(source, "data.yaml", {"names": ["apple"], **paths})
    assert {image.image: image.split for image in read_annotations(source).images} == {
        "images/train/a.jpg": "train",
        "images/train/sub/c.jpg": "train",
        "images/val/b.jpg": "val",
        "images/d.jpg": None,
    }


def test_a_folder_that_is_two_splits_is_none(source):
    drawn(source, "images/train/a.jpg")
    put(source, "data.yaml", {"names": ["apple"], "train": "images/train", "val": "images/train"})
    assert [image.split for image in read_annotations(source).images] == [None]


@QUICK
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode), st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(tmp_path_factory, labels, more):
    source = drawn(tmp_path_factory.mktemp("yolo"), "images/a.jpg")
    put(source, "data.yaml", "names: [a, b]\n")
    put(source, "labels/a.txt", b"0 0.5 0.5 0.2 0.2\n" + labels)
    put(source, "labels/orphan.txt", labels)
    assert_adds_up(read_annotations(source))
    put(source, "data.yaml", b"names: [a, b]\n" + more)
    try:
        assert_adds_up(read_annotations(source))
    except InvalidInput as error:
        assert "\n" not in str(error)  # noqa: PT017  (valid input is fine too)


@QUICK
@given(st.lists(st.tuples(st.integers(0, 1), *[st.floats(0.2, 0.8)] * 2, *[st.floats(0.01, 0.4)] * 2), max_size=8))
def test_valid_files_give_exactly_the_boxes(tmp_path_factory, items):
    source = drawn(tmp_path_factory.mktemp("yolo"), "images/a.jpg")
    put(source, "data.yaml", "names: [a, b]\n")
    put(source, "labels/a.txt", "".join(f"{' '.join(map(repr, item))}\n" for item in items))
    rows = read_annotations(source).images[0].boxes
    assert [row[0] for row in rows] == [item[0] for item in items]
    for row, (_, x, y, w, h) in zip(rows, items, strict=True):
        assert list(row[1:]) == pytest.approx([x - w / 2, y - h / 2, x + w / 2, y + h / 2], abs=1e-12)
