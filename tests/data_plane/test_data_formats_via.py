"""VGG Image Annotator in: projects and exports of versions 1 and 2, projects of version 3."""

import json
import math

import pytest
from data_formats import QUICK, assert_adds_up, boxes, converted, drawn, reasons, trees, write_json
from hypothesis import given
from hypothesis import strategies as st

from hakka.data.convert import convert
from hakka.data.formats import read_annotations
from hakka.errors import InvalidInput


def region(attributes, **shape):
    return {"shape_attributes": shape, "region_attributes": attributes}


def rect(attributes, x=1, y=2, width=8, height=7):
    return region(attributes, name="rect", x=x, y=y, width=width, height=height)


def entry(regions, filename="a.jpg"):
    return {"filename": filename, "size": 1234, "regions": regions, "file_attributes": {}}


def project(*entries):
    return {
        "_via_settings": {"ui": {}, "core": {}, "project": {"name": "via_project"}},
        "_via_img_metadata": {f"{item['filename']}{item['size']}": item for item in entries},
        "_via_attributes": {"region": {}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": [],
    }


SHAPES = [
    rect({"label": "pear"}),
    region({"label": "apple"}, name="polygon", all_points_x=[5, 25, 15], all_points_y=[6, 8, 30]),
    region({"label": "apple"}, name="circle", cx=40, cy=30, r=5),
    region({"label": "apple"}, name="ellipse", cx=40, cy=30, rx=10, ry=5),
    region({"label": "apple"}, name="ellipse", cx=40, cy=30, rx=10, ry=5, theta=math.pi / 2),
]
BOXES = [
    ("pear", 1, 2, 9, 9),
    ("apple", 5, 6, 25, 30),
    ("apple", 35, 25, 45, 35),
    ("apple", 30, 25, 50, 35),
    ("apple", 35, 20, 45, 40),
]


@pytest.mark.parametrize(
    "content",
    [
        project(entry(SHAPES)),
        {"a.jpg1234": entry(SHAPES)},
        {"a.jpg1234": entry({str(i): item for i, item in enumerate(SHAPES)})},  # VIA 1
    ],
)
def test_projects_and_exports_give_the_boxes_around_the_shapes(source, content):
    drawn(source, "a.jpg")
    write_json(source / "via.json", content)
    annotations = read_annotations(source)
    assert annotations.format == "via"
    assert annotations.names == ("apple", "pear")
    assert boxes(annotations) == {"a.jpg": BOXES}
    assert_adds_up(annotations)


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"fruit": "apple"}, "apple"),
        ({"Class": "apple", "colour": "red"}, "apple"),
        ({"ripe": "yes", "category": "apple", "note": ""}, "apple"),
        ({"type": "fruit", "name": "apple"}, "apple"),
        ({"quality": "good", "Food ": "apple"}, "apple"),
        ({"fruit": "apple", "colour": ""}, "apple"),
        ({"kind": {"apple": True}}, "apple"),
        ({"kind": {"apple": True, "pear": False}}, "apple"),
    ],
)
def test_the_class_is_the_attribute_that_says_it(source, attributes, name):
    drawn(source, "a.jpg")
    write_json(source / "via.json", project(entry([rect(attributes)])))
    assert boxes(read_annotations(source)) == {"a.jpg": [(name, 1, 2, 9, 9)]}


@pytest.mark.parametrize(
    ("region", "word"),
    [
        (rect({}), "no class: region_attributes is {}"),
        (rect(None), "no class: region_attributes is None"),
        (rect({"fruit": "apple", "colour": "red"}), "which of the attributes ['colour', 'fruit'] is it"),
        (rect({"fruit": ""}), "the attribute 'fruit' is ''"),
        (rect({"fruit": 3}), "the attribute 'fruit' is 3"),
        (rect({"fruit": {"a": True, "b": True}}), "must be ticked, got ['a', 'b']"),
        (rect({"fruit": {}}), "must be ticked, got []"),
        (region({"f": "a"}, name="point", cx=1, cy=2), "a point has no area"),
        (region({"f": "a"}, name="polyline", all_points_x=[1, 2, 3], all_points_y=[1, 2, 3]), "a polyline has no area"),
        (region({"f": "a"}, name="cube"), "the shape must be one of rect, polygon, circle, ellipse, got 'cube'"),
        (region({"f": "a"}, name=["rect"]), "the shape must be one of"),
        (rect({"f": "a"}, width=-3), "width must be > 0, got -3"),
        (rect({"f": "a"}, height=0), "height must be > 0, got 0"),
        (rect({"f": "a"}, x=math.inf), "must be finite numbers"),
        (rect({"f": "a"}, x=1e9), "must be finite numbers"),
        (region({"f": "a"}, name="circle", cx=1, cy=2, r=-4), "r must be > 0, got -4"),
        (region({"f": "a"}, name="ellipse", cx=1, cy=2, rx=4, ry=0), "rx and ry must be > 0"),
        (region({"f": "a"}, name="polygon", all_points_x=[1, 2], all_points_y=[1, 2]), "3 numbers or more"),
        (region({"f": "a"}, name="polygon", all_points_x=[1, 2, 3], all_points_y=[1, 2]), "3 numbers or more"),
        (region({"f": "a"}, name="polygon", all_points_x=[1, 2, "3"], all_points_y=[1, 2, 3]), "two finite numbers"),
        ({"shape_attributes": []}, "must be an object with shape_attributes"),
        (7, "must be an object with shape_attributes"),
    ],
)
def test_a_region_that_gives_no_box_is_refused_with_the_reason(source, region, word):
    drawn(source, "a.jpg")
    write_json(source / "via.json", project(entry([rect({"f": "b"}), region])))
    annotations = read_annotations(source)
    assert len(boxes(annotations)["a.jpg"]) == 1
    assert word in reasons(annotations)
    assert "region 1 of image 'a.jpg1234' of via.json: " in reasons(annotations)
    assert_adds_up(annotations)


def test_the_class_is_the_only_attribute_that_all_regions_have_and_the_others_are_said(source):
    drawn(source, "a.jpg")
    regions = [rect({"colour": "red", "fruit": "apple"}), rect({"fruit": "pear"}), rect({"note": "x", "fruit": "fig"})]
    write_json(source / "via.json", project(entry(regions)))
    annotations = read_annotations(source)
    assert [name for name, *_ in boxes(annotations)["a.jpg"]] == ["apple", "pear", "fig"]
    assert "via.json: the class is the attribute 'fruit'; passed over: ['colour', 'note']" in reasons(annotations)


def test_classes_yaml_names_the_attribute_that_is_the_class(source, tmp_path):
    drawn(source, "a.jpg")
    regions = [rect({"fruit": "apple", "colour": "red"}), rect({"colour": "green", "fruit": "pear"}), rect({"x": "y"})]
    write_json(source / "via.json", project(entry(regions)))
    assert "is it? Say so in classes.yaml, as in `attribute: colour`" in reasons(read_annotations(source))
    (source / "classes.yaml").write_text("attribute: fruit\n")
    report = convert(source, tmp_path / "out")
    assert report["classes"] == {"apple": 1, "pear": 1}
    assert report["boxes"]["refused"] == 1
    assert any("none of the attributes ['x'] is 'fruit'" in item["reason"] for item in report["findings"])
    assert not any("not in classes.yaml" in item["reason"] for item in report["findings"])
    (source / "classes.yaml").write_text("attribute: fruit\nclasses: {pome: [apple, pear]}\n")
    assert convert(source, tmp_path / "out")["classes"] == {"pome": 2}


def test_an_attribute_for_a_format_that_has_none_is_refused(write_coco, tmp_path):
    source = write_coco(4)
    (source / "classes.yaml").write_text("attribute: fruit\n")
    with pytest.raises(InvalidInput, match="attribute 'fruit': only regions of VIA have attributes, this is COCO JSON"):
        convert(source, tmp_path / "out")


def test_entries_that_are_no_images_are_refused_one_by_one(source):
    drawn(source, "a.jpg", "b.jpg")
    (source / "notes.txt").write_text("no image")
    one = rect({"f": "apple"})
    content = {
        "1": entry([one]),
        "2": entry([one, one]),
        "3": entry([one], "gone.jpg"),
        "4": entry([one], None),
        "5": entry([one], "notes.txt"),
        "6": entry("regions", "b.jpg"),
        "7": 7,
    }
    write_json(source / "via.json", content)
    annotations = read_annotations(source)
    assert boxes(annotations) == {"a.jpg": [("apple", 1, 2, 9, 9)]}
    assert (annotations.images_found, annotations.boxes_found) == (7, 6)
    for word in (
        "a second time",
        "no such image file: 'gone.jpg'",
        "a file name, got None",
        "not an image file",
        "got 7",
    ):
        assert word in reasons(annotations)
    assert_adds_up(annotations)


def test_a_photo_on_the_web_is_the_file_of_that_name(source, tmp_path):
    drawn(source, "photos/a.jpg", "photos/b.jpg")
    write_json(
        source / "via.json",
        {
            "1": entry([rect({"f": "apple"})], "https://example.org/photos/a.jpg"),
            "2": entry([], "b.jpg"),
        },
    )
    report = convert(source, tmp_path / "out", format="via")
    assert report["images"]["converted"] == 2
    assert converted(tmp_path / "out", "photos/a.jpg") == [[1, 2, 9, 9]]
    assert converted(tmp_path / "out", "photos/b.jpg") == []
    said = " ".join(finding["reason"] for finding in report["findings"])
    assert "of another place" in said
    assert "has no region: VIA does not say whether it was looked at" in said


def project3(**changes):
    value = {
        "project": {"pid": "__VIA_PROJECT_ID__", "data_format_version": "3.1.1", "vid_list": ["1", "2"]},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}},
        "attribute": {
            "1": {"aname": "food", "anchor_id": "FILE1_Z0_XY1", "type": 4, "options": {"0": "apple", "1": "pear"}},
            "2": {"aname": "state", "anchor_id": "FILE1_Z0_XY1", "type": 2, "options": {"0": "ripe", "1": "cut"}},
        },
        "file": {
            "1": {"fid": 1, "fname": "a.jpg", "type": 2, "loc": 1, "src": "a.jpg"},
            "2": {"fid": 2, "fname": "film.mp4", "type": 4, "loc": 1, "src": "film.mp4"},
        },
        "view": {"1": {"fid_list": [1]}, "2": {"fid_list": [2]}},
        "metadata": {
            "1_a": {"vid": "1", "flg": 0, "z": [], "xy": [2, 1, 2, 8, 7], "av": {"1": "0"}},
            "1_b": {"vid": "1", "flg": 0, "z": [], "xy": [3, 40, 30, 5], "av": {"1": "1"}},
            "1_c": {"vid": "1", "flg": 0, "z": [], "xy": [4, 40, 30, 10, 5], "av": {"1": "1"}},
            "1_d": {"vid": "1", "flg": 0, "z": [], "xy": [7, 5, 6, 25, 8, 15, 30], "av": {"1": "1"}},
            "1_e": {"vid": "1", "flg": 0, "z": [], "xy": [8, 5, 6, 25, 8, 15, 30, 7, 7], "av": {"1": "1"}},
            "1_f": {"vid": "1", "flg": 0, "z": [], "xy": [9, 35, 30, 40, 25, 45, 30], "av": {"1": "1"}},
            "1_g": {"vid": "1", "flg": 0, "z": [], "xy": [], "av": {"1": "1"}},  # about the file
        },
    }
    return {**value, **changes}


def test_a_project_of_version_3_is_read(source):
    drawn(source, "a.jpg")
    write_json(source / "via.json", project3())
    annotations = read_annotations(source)
    assert boxes(annotations)["a.jpg"] == [
        ("apple", 1, 2, 9, 9),
        ("pear", 35, 25, 45, 35),
        ("pear", 30, 25, 50, 35),
        ("pear", 5, 6, 25, 30),
        ("pear", 5, 6, 25, 30),
        ("pear", 35, 25, 45, 35),
    ]
    assert "view '2' of via.json: the file must be an image (type 2), got type 4" in reasons(annotations)
    assert_adds_up(annotations)


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({"vid": "1", "xy": [1, 2, 3], "av": {"1": "0"}}, "a point has no area"),
        ({"vid": "1", "xy": [6, 2, 3, 4, 5], "av": {"1": "0"}}, "a polyline has no area"),
        ({"vid": "1", "xy": [77, 2, 3], "av": {"1": "0"}}, "unknown shape 77"),
        ({"vid": "1", "xy": [[2], 2, 3], "av": {"1": "0"}}, "unknown shape [2]"),
        ({"vid": "1", "xy": [2, 2, 3], "av": {"1": "0"}}, "another count of coordinates"),
        ({"vid": "1", "xy": [7, 2, 3, 4, 5, 6, 7, 8], "av": {"1": "0"}}, "another count of coordinates"),
        ({"vid": "1", "xy": [9, 1, 1, 2, 2, 3, 3], "av": {"1": "0"}}, "lie on a line"),
        ({"vid": "1", "xy": [3, 1, 1, 0], "av": {"1": "0"}}, "the radius must be > 0"),
        ({"vid": "1", "xy": [2, 2, 3, None, 4], "av": {"1": "0"}}, "must hold finite numbers"),
        ({"vid": "1", "xy": "xy", "av": {"1": "0"}}, "xy must be the number of a shape"),
        ({"vid": "1", "xy": [2, 2, 3, 4, 4], "av": {"2": "0,1"}}, "must be ticked, got ['cut', 'ripe']"),
        ({"vid": "1", "xy": [2, 2, 3, 4, 4], "av": []}, "no class"),
        ({"vid": "9", "xy": [2, 2, 3, 4, 4], "av": {"1": "0"}}, "orphan: no view has the id '9'"),
        ({"xy": [2, 2, 3, 4, 4]}, "orphan"),
        (3, "orphan"),
    ],
)
def test_a_region_of_version_3_that_gives_no_box_is_refused(source, item, word):
    drawn(source, "a.jpg")
    write_json(source / "via.json", project3(metadata={"1": item}))
    annotations = read_annotations(source)
    assert annotations.boxes_found == 1
    assert word in reasons(annotations)
    assert_adds_up(annotations)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"view": {"1": {"fid_list": [1, 2]}}}, "a view must show one file, got [1, 2]"),
        ({"view": {"1": 3}}, "a view must show one file"),
        ({"view": {"1": {"fid_list": [[]]}}}, "no file has the id []"),
        ({"view": {"1": {"fid_list": [8]}}}, "no file has the id 8"),
        ({"file": {"1": {"type": 2, "src": "data:image/png;base64,AA"}}}, "needs a file name, got None"),
    ],
)
def test_a_view_of_version_3_that_is_no_image_is_refused_with_its_regions(source, changes, word):
    drawn(source, "a.jpg")
    write_json(source / "via.json", project3(**changes))
    annotations = read_annotations(source)
    assert not annotations.images
    assert word in reasons(annotations)
    assert_adds_up(annotations)


KEYS = ("filename", "regions", "shape_attributes", "region_attributes", "name", "x", "y", "width", "height", "r", "cx")
KEYS3 = ("1", "2", "vid", "xy", "av", "fid_list", "fname", "src", "type", "aname", "options")


@QUICK
@given(trees(*KEYS), trees(*KEYS), st.booleans())
def test_any_tree_is_read_or_refused(tmp_path_factory, value, other, wrapped):
    source = drawn(tmp_path_factory.mktemp("via"), "a.jpg")
    entries = {"1": entry(value), "2": value, "3": entry([region(other, name="rect"), other, value])}
    write_json(source / "via.json", {"_via_img_metadata": entries} if wrapped else entries)
    assert_adds_up(read_annotations(source, "via"))


@QUICK
@given(st.fixed_dictionaries({key: st.dictionaries(st.sampled_from("123"), trees(*KEYS3)) for key in ("file", "view")}))
def test_any_tree_of_version_3_is_read_or_refused(tmp_path_factory, tables):
    source = drawn(tmp_path_factory.mktemp("via"), "a.jpg")
    for metadata in (project3()["metadata"], tables["view"]):
        write_json(source / "via.json", project3(**tables, metadata=metadata))
        assert_adds_up(read_annotations(source, "via"))


@QUICK
@given(
    st.lists(st.tuples(st.sampled_from("abc"), *[st.integers(0, 40)] * 2, *[st.integers(1, 20)] * 2), max_size=8),
    st.booleans(),
)
def test_valid_files_give_exactly_the_boxes(tmp_path_factory, items, mapped):
    source = drawn(tmp_path_factory.mktemp("via"), "a.jpg")
    regions = [rect({"label": label}, x, y, w, h) for label, x, y, w, h in items]
    content = project(entry({str(i): item for i, item in enumerate(regions)} if mapped else regions))
    (source / "via.json").write_text(json.dumps(content))
    expected = [(label, x, y, x + w, y + h) for label, x, y, w, h in items]
    assert boxes(read_annotations(source)) == {"a.jpg": expected}
