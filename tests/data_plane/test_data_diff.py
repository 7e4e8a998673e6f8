"""What changed between two states of the data: small tables, and two datasets on the disk."""

import json

import numpy as np
import pytest
from data_pictures import coco, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from hakka.cli import main
from hakka.data.convert import convert
from hakka.data.diff import BoxChanges, ImageBoxes, Snapshot, compare, pair_boxes

A, A_MOVED, B, B_ROUNDED = (10, 10, 30, 30), (12, 11, 32, 31), (60, 60, 90, 80), (60.004, 60, 90, 79.996)
SHARES = (0.1, 0.1, 0.3, 0.3)


def state(images, boxes=None, classes=("apple", "pear"), unit="pixels"):
    """``boxes`` as {image: [(class, corners), …]}."""
    return Snapshot(
        "state",
        images,
        {
            image: ImageBoxes(tuple(name for name, _ in pairs), np.array([box for _, box in pairs], float), unit)
            for image, pairs in (boxes or {}).items()
        },
        classes,
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": "1"}, {"a": "1"}, {"unchanged": 1}),
        ({"a": "1"}, {"a": "2"}, {"changed": ("a",)}),
        ({"a": "1"}, {"b": "1"}, {"renamed": (("a", "b"),)}),
        ({"a": "1"}, {"b": "2"}, {"added": ("b",), "removed": ("a",)}),
        ({"a": "1"}, {"a": "1", "b": "1"}, {"unchanged": 1, "added": ("b",)}),
        ({"a": "1", "b": "1"}, {"c": "1", "d": "1"}, {"renamed": (("a", "c"), ("b", "d"))}),
        ({"a": "1", "b": "1"}, {"c": "1"}, {"renamed": (("a", "c"),), "removed": ("b",)}),
        ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}, {"changed": ("a", "b")}),
    ],
)
def test_images(before, after, expected):
    images = compare(state(before), state(after)).images
    none = dict.fromkeys(("added", "removed", "changed", "renamed"), ()) | {"unchanged": 0}
    assert {key: getattr(images, key) for key in none} == none | expected


@pytest.mark.parametrize(
    ("before", "after", "apple", "pear"),
    [
        ([("apple", A)], [("apple", A)], {"unchanged": 1}, {}),
        ([("apple", A), ("apple", B)], [("apple", B_ROUNDED), ("apple", A)], {"unchanged": 2}, {}),
        ([("apple", A)], [("apple", A_MOVED)], {"moved": 1}, {}),
        ([("apple", A)], [("apple", B)], {"removed": 1, "added": 1}, {}),
        ([("apple", A)], [("pear", A)], {"relabelled_from": 1}, {"relabelled_to": 1}),
        ([("apple", A)], [("pear", A_MOVED)], {"relabelled_from": 1}, {"relabelled_to": 1}),
        ([("apple", A)], [("pear", B)], {"removed": 1}, {"added": 1}),
        ([("apple", A), ("apple", A)], [("apple", A)], {"unchanged": 1, "removed": 1}, {}),
        ([("apple", A_MOVED), ("apple", A)], [("apple", A)], {"unchanged": 1, "removed": 1}, {}),
        ([], [("apple", A)], {"added": 1}, {}),
        ([("apple", A)], [], {"removed": 1}, {}),
    ],
)
def test_boxes_of_an_image_that_stayed_or_was_renamed(before, after, apple, pear):
    for name in ("a", "b"):
        diff = compare(state({"a": "1"}, {"a": before}), state({name: "1"}, {name: after}))
        count = len([label for label, _ in before if label == "apple"])
        there = len([label for label, _ in after if label == "apple"])
        assert diff.classes["apple"] == BoxChanges(before=count, after=there, **apple)
        assert diff.classes["pear"] == BoxChanges(after=len(after) - there, **pear)
        differs = set(apple) | set(pear) != {"unchanged"}
        assert diff.redrawn == ((name,) if differs else ())
        assert diff.is_empty == (not differs and name == "a")


def test_boxes_come_and_go_with_their_images():
    diff = compare(state({"a": "1"}, {"a": [("apple", A)]}), state({"b": "2"}, {"b": [("pear", A)]}))
    assert (diff.classes["apple"].removed, diff.classes["pear"].added, diff.relabelled) == (1, 1, {})


def test_classes_come_and_go_and_their_order_says_nothing():
    same = compare(state({}, classes=("apple", "pear")), state({}, classes=("pear", "apple")))
    assert same.is_empty
    told = compare(state({}, classes=("apple", "mik")), state({}, classes=("apple", "milk"))).to_json()["classes"]
    assert (told["added"], told["removed"]) == (["milk"], ["mik"])


def test_units_that_cannot_be_compared_are_told():
    diff = compare(
        state({"a": "1"}, {"a": [("apple", A)]}), state({"a": "1"}, {"a": [("apple", SHARES)]}, unit="shares")
    )
    assert diff.unlike == ("a",)
    assert (diff.boxes.removed, diff.boxes.added) == (1, 1)


def test_a_monstrous_image_is_compared_all_the_same():
    corners = np.random.default_rng(0).uniform(0, 1e6, (20_000, 4))
    corners[:, 2:] += corners[:, :2] + 1
    assert len(pair_boxes(corners, corners[::-1], "pixels")) == 20_000


BOXES = st.lists(
    st.tuples(
        st.sampled_from(("apple", "pear")),
        st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(41, 80)] * 2),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(before=BOXES, after=BOXES)
def test_the_counts_add_up_both_ways(before, after):
    there = compare(state({"a": "1"}, {"a": before}), state({"a": "1"}, {"a": after}))
    for changes in (*there.classes.values(), there.boxes):
        stayed = changes.unchanged + changes.moved
        assert changes.before == stayed + changes.removed + changes.relabelled_from
        assert changes.after == stayed + changes.added + changes.relabelled_to
    assert (there.boxes.before, there.boxes.after) == (len(before), len(after))
    assert there.boxes.relabelled_from == there.boxes.relabelled_to == sum(there.relabelled.values())
    itself = compare(state({"a": "1"}, {"a": before}), state({"a": "1"}, {"a": before[::-1]}))
    assert itself.is_empty


def test_two_datasets_by_the_command_line(tmp_path, capsys):
    for version, count in (("one", 3), ("two", 4)):
        source = tmp_path / version
        images = [{"id": n, "file_name": f"{n}.jpg", "width": 96, "height": 64} for n in range(count)]
        boxes = [{"id": n, "image_id": n, "category_id": 10, "bbox": [8, 8, 30, 20]} for n in range(count)]
        boxes[0]["bbox"][0] = 8 if version == "one" else 12
        boxes[1]["category_id"] = 10 if version == "one" else 20
        for n in range(count):
            draw(source / f"{n}.jpg", n)
        (source / "annotations.json").write_text(json.dumps(coco(images, boxes)))
        convert(source, tmp_path / f"dataset-{version}")
    datasets = [str(tmp_path / f"dataset-{version}") for version in ("one", "two")]
    assert main(["data", "diff", *datasets, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"]["added"] == ["3.jpg"]
    assert told["relabelled"] == [{"from": "apple", "to": "mik", "boxes": 1}]
    assert told["redrawn"] == ["0.jpg", "1.jpg"]
    assert main(["data", "diff", *datasets]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "images  3 → 4: 1 added, 0 removed, 0 renamed, 0 with other bytes" in lines
    assert "boxes   3 → 4: 1 added, 0 removed, 1 moved, 1 relabelled" in lines
    assert "relabelled (1): apple → mik: 1" in lines
    assert main(["data", "diff", datasets[0], datasets[0]]) == 0
    assert "nothing changed" in capsys.readouterr().out
    assert main(["data", "diff", datasets[0]]) == 2
    assert "name a second one" in capsys.readouterr().err


def test_names_that_a_terminal_would_obey_are_shown_and_not_obeyed(tmp_path, capsys):
    names = ("plain.jpg", "bell\x07.jpg", "esc\x1b[31m.jpg", "two\nlines.jpg", "turned\u202egpj.exe.jpg")
    for version, classes in (("one", ("red\x1b[31m", "apple")), ("two", ("apple", "turn\u202eed"))):
        source = tmp_path / version
        images = [{"id": n, "file_name": name} for n, name in enumerate(names[: 1 if version == "one" else None])]
        boxes = [{"image_id": image["id"], "category_id": 10, "bbox": [8, 8, 30, 20]} for image in images]
        for n, image in enumerate(images):
            draw(source / image["file_name"], n)
        (source / "annotations.json").write_text(json.dumps(coco(images, boxes, classes)))
        convert(source, tmp_path / f"dataset\x1b-{version}")
    assert main(["data", "diff", *(str(tmp_path / f"dataset\x1b-{version}") for version in ("one", "two"))]) == 0
    told = capsys.readouterr().out
    assert all(letter.isprintable() for letter in told.replace("\n", ""))
    lines = told.splitlines()
    assert lines[0].endswith("/dataset\\x1b-one")
    assert "classes 2 → 2: + turn\\u202eed, − red\\x1b[31m" in lines
    assert "relabelled (1): red\\x1b[31m → apple: 1" in lines
    shown = "bell\\x07.jpg, esc\\x1b[31m.jpg, turned\\u202egpj.exe.jpg, two\\nlines.jpg"
    assert f"images added (4): {shown}" in lines
    [head, *rows] = [line for line in lines if line.startswith("  ")]
    assert {row[head.index("before") - 1 :][:2].strip().isdigit() for row in rows} == {True}, "columns are flush"
