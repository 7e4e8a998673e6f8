"""Pascal VOC in: what labelImg, roLabelImg and the VOC sets themselves hold, and hostile XML."""

from xml.sax.saxutils import escape

import pytest
from data_formats import QUICK, SENSOR, assert_adds_up, boxes, converted, drawn, reasons
from hypothesis import given
from hypothesis import strategies as st

from hakka.data.convert import convert
from hakka.data.formats import read_annotations
from hakka.errors import InvalidInput


def voc(objects, filename="a.jpg", size=(96, 64), head=""):
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return (
        f"{head}<annotation>\n\t<folder>JPEGImages</folder>\n\t<filename>{escape(filename)}</filename>\n\t"
        f"<path>C:\\Users\\me\\JPEGImages\\{escape(filename)}</path>\n\t<source><database>Unknown</database></source>\n\t"
        f"{sides}<segmented>0</segmented>{''.join(objects)}</annotation>"
    )


def item(name="apple", *sides, more=""):
    xmin, ymin, xmax, ymax = sides or (2, 3, 9, 10)
    box = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return (
        f"<object>\n\t<name>{name}</name><pose>Unspecified</pose><truncated>1</truncated><difficult>1</difficult>"
        f"{more}<bndbox>\n{box}</bndbox></object>"
    )


def turned(cx, cy, w, h, angle):
    box = f"<cx>{cx}</cx><cy>{cy}</cy><w>{w}</w><h>{h}</h><angle>{angle}</angle>"
    return f"<object><type>robndbox</type><name>apple</name><robndbox>{box}</robndbox></object>"


def put(source, name, text):
    path = source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


BOX = ("apple", 1, 2, 9, 10)


def test_pixels_count_from_one_and_the_last_is_inside(source):
    drawn(source, "JPEGImages/a.jpg", "JPEGImages/b.jpg")
    put(source, "Annotations/a.xml", voc([item(), item("\n pear \n", 1, 1, 96, 64), item("pear", 5, 6, 5, 6)]))
    put(source, "Annotations/b.xml", voc([], "b.jpg"))
    annotations = read_annotations(source)
    assert annotations.format == "voc"
    assert annotations.names == ("apple", "pear")
    assert boxes(annotations) == {
        "JPEGImages/a.jpg": [BOX, ("pear", 0, 0, 96, 64), ("pear", 4, 5, 5, 6)],
        "JPEGImages/b.jpg": [],
    }
    assert_adds_up(annotations)


def test_turned_boxes_become_the_boxes_around_them(source):
    drawn(source, "a.jpg")
    quarter, full = 1.5707963267948966, 6.283185307179586
    put(
        source, "a.xml", voc([turned(48, 32, 20, 10, 0), turned(48, 32, 20, 10, quarter), turned(48, 32, 20, 10, full)])
    )
    assert boxes(read_annotations(source)) == {
        "a.jpg": [("apple", 38, 27, 58, 37), ("apple", 43, 22, 53, 42), ("apple", 38, 27, 58, 37)]
    }


@pytest.mark.parametrize(
    ("item", "word"),
    [
        (item("apple", 9, 3, 2, 10), "width must be > 0, got -6"),
        (item("apple", 2, 11, 9, 10), "height must be > 0, got 0"),
        (item("apple", "x", 3, 9, 10), "must be finite numbers, got ['x', 3.0, 9.0, 10.0]"),
        (item("apple", "nan", 3, 9, 10), "must be finite numbers"),
        (item("apple", "inf", 3, 9, 10), "must be finite numbers"),
        (item("apple", "1e300", 3, 9, 10), "must be finite numbers"),
        (item("apple", "9" * 5000, 3, 9, 10), "must be finite numbers"),
        (item("apple", "", 3, 9, 10), "must be finite numbers"),
        (item(""), "the class name must be text, got ''"),
        ("<object><name>apple</name></object>", "needs a bndbox or a robndbox"),
        ("<object><name>apple</name><bndbox/></object>", "must be finite numbers"),
        (turned(48, 32, 0, 10, 0), "w and h must be > 0, got 0 and 10"),
        (turned(48, 32, 20, 10, "?"), "must be finite numbers"),
    ],
)
def test_an_object_that_gives_no_box_is_refused_with_the_reason(source, item, word):
    drawn(source, "a.jpg")
    put(source, "a.xml", voc([globals()["item"](), item]))
    annotations = read_annotations(source)
    assert boxes(annotations) == {"a.jpg": [BOX]}
    assert word in reasons(annotations)
    assert "object 1 of a.xml: " in reasons(annotations)
    assert annotations.boxes_found == 2
    assert_adds_up(annotations)


def test_parts_and_a_count_from_zero_are_said_once(source):
    drawn(source, "a.jpg", "b.jpg")
    part = "<part><name>stem</name><bndbox><xmin>1</xmin></bndbox></part>"
    put(source, "a.xml", voc([item(more=part), item("apple", 0, 0, 9, 10), item("apple", 0, 5, 9, 10)]))
    put(source, "b.xml", voc([item(more=part)], "b.jpg"))
    annotations = read_annotations(source)
    assert annotations.boxes_found == 4
    assert "a.xml: an object has parts: they are passed over, the object is kept (and 1 more" in reasons(annotations)
    assert "a.xml: a box starts at pixel 0, VOC counts from 1" in reasons(annotations)


@pytest.mark.parametrize("filename", ["a", "a.png", "", "C:\\elsewhere\\a.jpg", "JPEGImages/a.jpg", "../a.jpg"])
def test_the_photo_is_found_though_the_name_is_of_elsewhere(source, filename):
    drawn(source, "JPEGImages/a.jpg", "JPEGImages/b.jpg")
    put(source, "Annotations/a.xml", voc([item()], filename))
    annotations = read_annotations(source)
    assert boxes(annotations) == {"JPEGImages/a.jpg": [BOX]}
    assert_adds_up(annotations)


@pytest.mark.parametrize(("size", "claim"), [((96, 64), (96, 64)), (None, None), ((0, 0), None)])
def test_the_size_is_a_claim_and_zero_claims_nothing(source, size, claim):
    drawn(source, "a.jpg")
    put(source, "a.xml", voc([item()], size=size))
    assert read_annotations(source).images[0].size == claim


@pytest.mark.parametrize("size", [(0, 64), (-1, 64), ("wide", 64), (1.5, 64)])
def test_an_impossible_size_refuses_the_image(source, size):
    drawn(source, "a.jpg")
    put(source, "a.xml", voc([item()], size=size))
    annotations = read_annotations(source)
    assert not annotations.images
    assert "a.xml: width and height must be whole numbers from 1" in reasons(annotations)
    assert_adds_up(annotations)


def test_the_lists_of_voc_are_the_split(source):
    drawn(source, *[f"JPEGImages/{name}.jpg" for name in "abcd"])
    for name in "abcd":
        put(source, f"Annotations/{name}.xml", voc([], f"{name}.jpg"))
    for split, stems in (("train", "a\nd\n"), ("val", "b 1\r\nd\n"), ("test", "c\n")):
        put(source, f"ImageSets/Main/{split}.txt", stems)
    splits = [image.split for image in read_annotations(source).images]
    assert splits == ["train", "val", "test", None]


def test_boxes_follow_a_photo_that_exif_turns(source, tmp_path):
    drawn(source, "sensor.jpg", "upright.jpg", **SENSOR)  # 96 x 64 on the sensor, 64 x 96 upright
    put(source, "sensor.xml", voc([item("apple", 1, 1, 10, 20)], "sensor.jpg", (96, 64)))
    put(source, "upright.xml", voc([item("apple", 45, 1, 64, 10)], "upright.jpg", (64, 96)))
    convert(source, tmp_path / "out")
    assert converted(tmp_path / "out", "sensor.jpg") == [[44, 0, 64, 10]]
    assert converted(tmp_path / "out", "upright.jpg") == [[44, 0, 64, 10]]


BOMB = (
    "<!DOCTYPE a [<!ENTITY b 'bbbb'>"
    + "".join(f"<!ENTITY b{i} '{f'&b{i - 1 if i else str()};' * 10}'>" for i in range(9))
    + "]>"
)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (voc(["&b8;"], head=BOMB), "declares a document type or an entity"),
        (voc(["&x;"], head="<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"), "declares a document type"),
        (voc([], head="<!DOCTYPE a SYSTEM 'http://example.org/a.dtd'>"), "declares a document type"),
        (voc([])[:-5], "not valid XML"),
        ("<a>" * 200_000, "not valid XML"),
        ("", "not valid XML"),
        ("<?xml version='1.0' encoding='klingon'?><annotation/>", "not valid XML"),
        ("<annotations/>", "VOC has the root element annotation, got 'annotations'"),
        (b" " * (4 * 2**20 + 1), "larger than 4 MiB"),
    ],
)
def test_a_file_that_is_no_usable_voc_is_one_sentence(source, content, word):
    drawn(source, "a.jpg")
    put(source, "a.xml", content)
    with pytest.raises(InvalidInput, match=word) as error:
        read_annotations(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_other_encodings_and_line_ends_are_read(source, encoding):
    drawn(source, "a.jpg")
    head = '<?xml version="1.0" encoding="latin-1"?>' if encoding == "latin-1" else ""
    put(source, "a.xml", voc([item("crème")], head=head).replace("\n", "\r\n").encode(encoding))
    assert boxes(read_annotations(source)) == {"a.jpg": [("crème", 1, 2, 9, 10)]}


TAGS = st.sampled_from(["object", "name", "bndbox", "xmin", "ymax", "robndbox", "size", "width", "filename", "part"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=6).map(escape)
XML = st.recursive(
    TEXTS | st.integers().map(str) | st.floats().map(str),
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", TAGS, st.lists(inner, max_size=5)),
    max_leaves=25,
)


@QUICK
@given(st.lists(XML, max_size=6), st.integers(0, 400), st.binary(max_size=3))
def test_any_tree_is_read_or_refused(tmp_path_factory, parts, cut, noise):
    source = drawn(tmp_path_factory.mktemp("voc"), "a.jpg", "b.jpg")
    put(source, "a.xml", f"<annotation>{''.join(parts)}</annotation>")
    put(source, "b.xml", voc([item()], "b.jpg"))
    assert_adds_up(read_annotations(source, "voc"))
    whole = voc([item(), *parts]).encode()
    put(source, "a.xml", whole[:cut] + noise + whole[cut:])
    assert_adds_up(read_annotations(source, "voc"))


@QUICK
@given(
    st.lists(st.tuples(st.sampled_from("abc"), *[st.integers(1, 40)] * 2, *[st.integers(0, 20)] * 2), max_size=8),
)
def test_valid_files_give_exactly_the_boxes(tmp_path_factory, items):
    source = drawn(tmp_path_factory.mktemp("voc"), "a.jpg")
    put(source, "a.xml", voc([item(label, x, y, x + w, y + h) for label, x, y, w, h in items]))
    expected = [(label, x - 1, y - 1, x + w, y + h) for label, x, y, w, h in items]
    assert boxes(read_annotations(source)) == {"a.jpg": expected}
