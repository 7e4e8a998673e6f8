"""The conversion report as a person sees it: counts, bars, pictures; and that no data can break the page."""

import base64
import json
import os
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from data_pictures import coco, draw
from PIL import Image

from hakka.cli import main
from hakka.data.convert import convert
from hakka.data.page import bars, gallery, page, table
from hakka.data.pictures import thumbnail
from hakka.data.scan import scan_images
from hakka.drawing import class_colour

MOST_BYTES = 3_000_000


class Page(HTMLParser):
    """What a browser makes of a page: tags, texts, and the attributes of the tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def images(self) -> list[Image.Image]:
        sources = [value for name, value in self.attributes if name == "src"]
        return [Image.open(BytesIO(base64.b64decode(value.partition("base64,")[2]))) for value in sources]


def report_page(out: Path) -> Page:
    html = (out / "report.html").read_text()
    assert len(html.encode()) <= MOST_BYTES
    parsed = Page(html)
    assert not parsed.open
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on") or name == "href"]
    assert all(value.startswith("data:image/jpeg;base64,") for name, value in parsed.attributes if name == "src")
    return parsed


def far_from(colour: tuple[int, int, int], picture: Image.Image) -> float:
    """The distance of the pixel that is nearest to a colour (JPEG blurs it a little)."""
    return float(np.abs(np.asarray(picture.convert("RGB"), dtype=int) - colour).sum(axis=2).min())


def test_every_split_and_class_is_seen_and_counted(write_coco, tmp_path):
    source = write_coco(40)
    report = convert(source, tmp_path / "out")
    parsed = report_page(tmp_path / "out")
    for split in ("train", "val", "test"):
        assert f"Examples: {split}" in parsed.text
        assert report["splits"][split]["classes"]["apple"] == report["splits"][split]["boxes"] > 0
    assert report["classes"] == {"apple": 40, "mik": 0}
    assert 3 <= len(parsed.images) <= 24
    assert all(max(image.size) <= 320 for image in parsed.images)


def test_a_rare_class_is_among_the_examples(source, tmp_path):
    for i in range(60):
        draw(source / f"{i:02}.jpg", i)
    images = [{"id": i, "file_name": f"{i:02}.jpg"} for i in range(60)]
    boxes = [{"image_id": i, "category_id": 20 if i == 37 else 10, "bbox": [20, 20, 40, 30]} for i in range(60)]
    (source / "a.json").write_text(json.dumps(coco(images, boxes, ("tomato", "durian"))))
    convert(source, tmp_path / "out")
    parsed = report_page(tmp_path / "out")
    assert "37.jpg" in parsed.texts
    assert "1 durian" in parsed.texts


def test_what_was_refused_or_clipped_is_shown_with_its_box(write_coco, tmp_path):
    convert(write_coco(3, {1: [[-10, 20, 40, 30]]}), tmp_path / "out")
    parsed = report_page(tmp_path / "out")
    assert "Refused or clipped" in parsed.text
    shown = [text for text in parsed.texts if text.startswith("clipped: box 0: hangs out of the 96 x 64 frame")]
    assert len(shown) == 1
    assert far_from(class_colour("apple"), parsed.images[-1]) < 60


def test_boxes_of_a_dropped_class_are_drawn_under_their_own_name(write_coco, tmp_path):
    source = write_coco(3)
    (source / "classes.yaml").write_text("classes: {milk: [mik]}\ndrop: [apple]")
    convert(source, tmp_path / "out")
    parsed = report_page(tmp_path / "out")
    assert parsed.text.count("dropped: box 0: the class 'apple' is dropped by classes.yaml") == 1
    assert far_from(class_colour("apple"), parsed.images[-1]) < 60
    assert "no boxes" in parsed.text  # the examples


def test_hostile_names_are_shown_and_not_obeyed(source, tmp_path):
    file = '"><img src=x onerror=alert(1)>.jpg'
    name = "<script>alert(1)</script>"
    draw(source / file, 1)
    draw(source / "b.jpg", 2)
    images = [{"id": 0, "file_name": file}, {"id": 1, "file_name": "b.jpg"}, {"id": 2, "file_name": "<b>gone</b>.jpg"}]
    boxes = [{"image_id": i, "category_id": 10, "bbox": [-8, 8, 30, 30]} for i in range(2)]
    (source / "a.json").write_text(json.dumps(coco(images, boxes, (name, "</style>&amp;"))))
    convert(source, tmp_path / "out")
    parsed = report_page(tmp_path / "out")
    assert name in parsed.texts
    assert "</style>&amp;" in parsed.texts
    assert file in parsed.texts
    assert any("<b>gone</b>.jpg" in text for text in parsed.texts)
    assert len(parsed.images) == parsed.tags.count("img") == 4  # two examples, twice clipped


def test_what_turns_text_or_commands_a_terminal_is_written_out(source, tmp_path, capsys):
    """The joiners of emoji and of many scripts stay."""
    file, cook = "egg\u202egpj.exe\x1b[31m\n.jpg", "\N{MAN}\N{ZERO WIDTH JOINER}\N{COOKING}"
    draw(source / file, 1)
    images = [{"id": 0, "file_name": file}]
    boxes = [{"image_id": 0, "category_id": 10, "bbox": [-8, 8, 30, 30]}]
    (source / "a.json").write_text(json.dumps(coco(images, boxes, (f"\u2066{cook}\u200f", "\x9b"))))
    assert main(["convert", str(source), "--out", str(tmp_path / "out")]) == 0
    page = report_page(tmp_path / "out")
    assert f"\\u2066{cook}\\u200f" in page.texts
    assert "\\x9b" in page.texts
    assert "egg\\u202egpj.exe\\x1b[31m\\n.jpg" in page.texts
    said = capsys.readouterr().out
    assert "\n  egg\\u202egpj.exe\\x1b[31m\\n.jpg: box 0: hangs out" in said
    for text in (page.text, said):
        assert not set(text) & set("\u202e\u2066\u200f\x1b\x9b")


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "{root}/secret.jpg", "..\\secret.jpg"])
def test_a_picture_from_outside_of_the_source_never_gets_into_the_page(source, tmp_path, name):
    draw(tmp_path / "secret.jpg", 7)
    draw(source / "a.jpg", 1)
    images = [{"id": 0, "file_name": "a.jpg"}, {"id": 1, "file_name": name.format(root=tmp_path)}]
    (source / "a.json").write_text(json.dumps(coco(images, [])))
    report = convert(source, tmp_path / "out")
    assert report["images"]["refused"] == 1
    parsed = report_page(tmp_path / "out")
    assert len(parsed.images) == 1
    assert "Refused or clipped" not in parsed.text


def test_scans_alone_are_enough_for_a_report_without_pictures(write_coco, tmp_path):
    source = write_coco(8)
    scans = scan_images(source, [f"images/{i:03}.jpg" for i in range(8)])
    for i in range(7):
        (source / f"images/{i:03}.jpg").write_bytes(b"gone")
    report = convert(source, tmp_path / "out", scans=scans)
    assert report["images"]["converted"] == 8
    assert len(report_page(tmp_path / "out").images) == 1


def test_the_same_data_gives_the_same_page(write_coco, tmp_path):
    source = write_coco(20, {i: [[-5, 5, 30, 30]] for i in range(0, 20, 2)})
    convert(source, tmp_path / "a")
    convert(source, tmp_path / "b")
    assert (tmp_path / "a/report.html").read_bytes() == (tmp_path / "b/report.html").read_bytes()


def test_the_page_names_every_class_that_is_no_ingredient_and_the_terminal_the_first(write_coco, tmp_path, capsys):
    source = write_coco(4)
    content = json.loads((source / "annotations.json").read_text())
    names = ["hand", "patato", *(f"thing number {i}" for i in range(40))]
    content["categories"] = [{"id": 10 + i, "name": name} for i, name in enumerate(names)]
    (source / "annotations.json").write_text(json.dumps(content))
    assert main(["convert", str(source), "--out", str(tmp_path / "out")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "no ingredient" in line]
    assert len(lines) == 1
    assert len(lines[0]) < 420
    assert "42 of 42 classes are no ingredient that recipes know: 'patato' (0 boxes; nearest: 'potato')" in lines[0]
    text = report_page(tmp_path / "out").text
    assert all(f"'{name}' (" in text for name in names)
    assert "'hand' (4 boxes)" in text


def test_a_page_stays_small_whatever_the_data(source, tmp_path):
    rng = np.random.default_rng(1)
    names = tuple(f"{i}{'&' * 2000}" for i in range(1500))
    images, boxes = [], []
    for i in range(80):
        path = source / f"{i}{'<' * 200}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 255, (330, 330, 3), dtype=np.uint8)  # the worst for a JPEG
        Image.fromarray(noise).save(path, compress_level=0)
        images.append({"id": i, "file_name": path.name})
        boxes += [{"image_id": i, "category_id": 10 * (k + 1), "bbox": [-9, 5 * k, 99, 200]} for k in range(30)]
    (source / "a.json").write_text(json.dumps(coco(images, boxes, names)))
    report = convert(source, tmp_path / "out")
    parsed = report_page(tmp_path / "out")
    assert len(report["findings"]) >= 2400
    assert re.search(r"… and \d+ more, see report\.json\.", parsed.text)
    assert len(parsed.images) >= 16


def test_a_long_table_is_cut_and_says_how_much_is_missing():
    parsed = Page(page("t", [table(["a", "n"], [[f"row {i}", i] for i in range(2345)])]))
    assert parsed.tags.count("tr") == 1001
    assert "… and 1345 more, see report.json." in parsed.texts
    assert Page(table(["a"], [["x" * 10_000]])).texts == ["a", "\n", "x" * 3999 + "…", "\n"]


def test_bars_are_as_long_as_their_numbers():
    parsed = Page(bars(("train", "val"), [("egg", {"train": 30, "val": 10}), ("milk", {"train": 10})], "class"))
    widths = [value for name, value in parsed.attributes if name == "style"]
    assert widths == ["width:75.00%", "width:25.00%", "width:25.00%"]
    assert [text for text in parsed.texts if text.strip().isdigit()] == ["30", "10", "40", "10", "0", "10"]
    assert Page(bars(("train",), [("egg", {})], "class")).tags.count("tr") == 2
    assert Page(gallery([])).text == "None."


BOX = np.array([[0, 0.5, 0.5, 0.5, 0.5]])


def _bytes_of(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.partition("base64,")[2])))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_thumbnail_is_a_small_jpeg_with_the_box_where_it_is(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (800, 400), (128, 128, 128)).save(path)
    picture = _bytes_of(thumbnail(path, BOX, ["egg"], 200))
    assert (picture.format, picture.size) == ("JPEG", (200, 100))
    values = np.abs(np.asarray(picture, dtype=int) - class_colour("egg")).sum(axis=2)
    grey = values[50, 100]  # the middle: nothing is drawn there
    assert values[50, 48:53].min() < 0.75 * grey  # the left side of the box
    assert values[50, 147:152].min() < 0.75 * grey  # the right one
    assert values[50, [20, 80, 120, 180]].min() > 0.9 * grey


def test_a_thumbnail_of_a_turned_photo_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = draw(tmp_path / "a.jpg", 1, (800, 400), exif=exif.tobytes())
    assert _bytes_of(thumbnail(path, None, [], 200)).size == (100, 200)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16", "CMYK"])
def test_a_thumbnail_can_be_made_of_every_kind_of_picture(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (40, 30)).save(path)
    assert _bytes_of(thumbnail(path, BOX, ["egg"])).mode == "RGB"


def test_what_cannot_be_drawn_has_no_thumbnail(tmp_path):
    whole = draw(tmp_path / "whole.jpg", 1, (400, 400)).read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    for name in ("half.jpg", "text.jpg", "empty.jpg", "folder.jpg", "pipe.jpg", "huge.png", "missing.jpg"):
        assert thumbnail(tmp_path / name, BOX, ["egg"]) is None, name


def test_odd_boxes_and_names_do_not_stop_a_thumbnail(tmp_path):
    path = draw(tmp_path / "a.jpg", 1)
    odd = [
        [0, np.nan, 0, 0, 0],
        [0, np.inf, 1, 1, 1],
        [7, -5, 9, 1e9, 1e-9],
        [-3, 0.5, 0.5, -0.2, 0.2],
        [1, 2, 2, 0, 0],
    ]
    assert thumbnail(path, np.array(odd), ["a\x00\n\ud800" * 500, ""]) is not None
    many = np.tile(BOX, (20_000, 1))
    assert thumbnail(path, many, ["egg"]) is not None
    assert thumbnail(path, np.zeros((0, 5)), []) == thumbnail(path, None, [])
