"""What a person sees in a drawn picture."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hakka.drawing import class_colour, draw_detections, text_colour
from hakka.recipes import load_corpus

NAMES = list(load_corpus().ingredients)


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (128, 128, 128))


def painted(picture: Image.Image) -> np.ndarray:
    """(h, w) true where a pixel is no longer the grey of ``grey``."""
    return (np.asarray(picture) != 128).any(axis=2)


def test_a_box_is_drawn_where_it_is_in_the_colour_of_its_class():
    picture = draw_detections(grey(400, 300), [(100, 120, 220, 240)], ["tomato"], [0.9])
    assert picture.getpixel((100, 180)) == class_colour("tomato")
    assert picture.getpixel((160, 239)) == class_colour("tomato")
    assert picture.getpixel((160, 180)) == (128, 128, 128)
    assert picture.getpixel((300, 280)) == (128, 128, 128)


def test_the_given_image_stays_as_it_was():
    image = grey(64, 64)
    draw_detections(image, [(1, 1, 60, 60)], ["onion"], [0.5])
    assert not painted(image).any()


@pytest.mark.parametrize("factor", [2, 4, 10])
def test_lines_and_labels_grow_with_the_image(factor):
    small = painted(draw_detections(grey(400, 400), [(100, 100, 300, 300)], ["tomato"], [0.9]))
    side = 400 * factor
    box = tuple(factor * value for value in (100, 100, 300, 300))
    large = painted(draw_detections(grey(side, side), [box], ["tomato"], [0.9]))
    assert large.mean() == pytest.approx(small.mean(), rel=0.25)


def test_every_label_of_crossing_boxes_can_be_read():
    boxes = [(20, 100, 300, 300), (22, 104, 300, 300), (24, 108, 300, 300)]
    names = ["tomato", "onion", "garlic"]
    picture = np.asarray(draw_detections(grey(400, 400), boxes, names, [0.9, 0.8, 0.7]))
    for name in names:
        rows, _ = np.nonzero((picture == class_colour(name)).all(axis=2))
        counts = np.bincount(rows, minlength=400)
        label_rows = (counts > 40) & (counts < 250)  # a filled label is wider than two lines, shorter than an edge
        assert label_rows.sum() >= 8, name


@pytest.mark.parametrize(
    "box",
    [
        (-50, -50, 900, 900),
        (0, 0, 400, 8),
        (390, 0, 399, 10),
        (390, 290, 400, 300),
        (200, 100, 200, 100),
        (300, 200, 100, 50),
        (500, 500, 600, 600),
    ],
    ids=["larger than the image", "flat at the top", "corner", "lower corner", "empty", "corners swapped", "outside"],
)
def test_any_box_is_drawn_inside_of_the_image(box):
    picture = draw_detections(grey(400, 300), [box], ["sweet_potato"], [0.31])
    assert picture.size == (400, 300)
    assert painted(picture).any()


def test_a_tiny_image_with_a_long_name_is_still_drawn():
    assert draw_detections(grey(8, 8), [(1, 1, 7, 7)], ["a_very_long_name_of_a_thing"], [1.0]).size == (8, 8)


def test_a_transparent_picture_is_laid_on_white():
    picture = draw_detections(Image.new("RGBA", (50, 50), (0, 0, 0, 0)), [], [], [])
    assert picture.mode == "RGB"
    assert picture.getpixel((25, 25)) == (255, 255, 255)


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        draw_detections(grey(50, 50), [(1, 1, 9, 9)], ["tomato", "onion"], [0.5])


def test_a_colour_is_the_same_in_another_process():
    code = "from hakka.drawing import class_colour; print(class_colour('bell_pepper'))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(class_colour("bell_pepper"))


def test_colours_differ_and_their_text_can_be_read():
    colours = [class_colour(name) for name in NAMES]
    assert len(set(colours)) > 0.95 * len(NAMES)
    for name, colour in zip(NAMES, colours, strict=True):
        assert _contrast(colour, text_colour(colour)) >= 4.5, name  # WCAG 2, level AA


def _contrast(a, b):
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
