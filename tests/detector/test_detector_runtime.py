"""Untrusted bytes to pixels, pixels to boxes."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hakka.detector.decode import decode_image, decode_photo
from hakka.detector.runtime import Detections, image_features, load_detector, read_output
from hakka.errors import InvalidInput, NotFound, Tampered
from tests.serving.tiny_model import build_model_folder


def _encode(image, kind="JPEG", **options):
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _photo(width=64, height=48, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_three_formats_are_decoded(kind):
    assert decode_image(_encode(_photo(), kind)).shape == (48, 64, 3)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_jpeg_mode_becomes_rgb(mode):
    assert decode_image(_encode(_photo(mode=mode))).shape == (48, 64, 3)


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "LA", "I;16"])
def test_every_png_mode_becomes_rgb(mode):
    image = Image.fromarray(np.full((48, 64), 40_000, np.uint16)) if mode == "I;16" else _photo(mode="L").convert(mode)
    pixels = decode_image(_encode(image, "PNG"))
    assert pixels.shape == (48, 64, 3)
    if mode == "I;16":
        assert abs(int(pixels.mean()) - 40_000 // 257) <= 1


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = decode_image(_encode(_photo(64, 48), exif=exif.tobytes()))
    assert upright.shape == (64, 48, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello", "JPEG, PNG or WebP"),
        (_encode(_photo())[:300], "whole"),
        (_encode(_photo(), "PNG")[:-40], "whole"),
        (_encode(_photo(), "GIF"), "JPEG, PNG or WebP"),
        (_encode(_photo(), "TIFF"), "JPEG, PNG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "JPEG, PNG or WebP"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(data, words):
    with pytest.raises(InvalidInput, match=words) as refused:
        decode_image(data)
    assert "\n" not in str(refused.value)


def test_too_many_pixels_are_refused_before_they_are_decoded():
    with pytest.raises(InvalidInput, match="at most 100 pixels, got 64x48"):
        decode_image(_encode(_photo()), max_pixels=100)


def test_rows_of_an_nms_free_head_are_read():
    output = np.array([[1, 2, 30, 40, 0.9, 3], [0, 0, 5, 5, 0.1, 1]], np.float32)
    boxes, scores, labels = read_output(output, confidence=0.25, iou=0.7)
    assert boxes.tolist() == [[1, 2, 30, 40]]
    assert labels.tolist() == [3]
    assert scores == pytest.approx([0.9])


def test_raw_anchors_go_through_nms_by_class():
    """Two boxes on one thing become one; a box of another class at the same place stays."""
    output = np.zeros((4 + 2, 4), np.float32)
    output[:4] = np.array([[50, 50, 20, 20], [51, 50, 20, 20], [50, 50, 20, 20], [90, 90, 10, 10]]).T
    output[4] = [0.9, 0.8, 0.0, 0.0]
    output[5] = [0.0, 0.0, 0.7, 0.1]
    boxes, scores, labels = read_output(output, confidence=0.25, iou=0.5)
    assert sorted(zip(labels.tolist(), scores.round(2).tolist(), strict=True)) == [
        (0, pytest.approx(0.9)),
        (1, pytest.approx(0.7)),
    ]
    assert [40, 40, 60, 60] in boxes.tolist()


def test_features_tell_dark_from_bright_and_sharp_from_blurred():
    sharp = np.asarray(_photo(400, 300))
    flat = np.full((300, 400, 3), 200, np.uint8)
    assert image_features(sharp)["blur"] > 100 * (image_features(flat)["blur"] + 1)
    assert image_features(flat)["brightness"] == pytest.approx(200)
    assert image_features(flat)["width"] == 400


def test_a_loaded_model_finds_its_boxes_in_pixels_of_the_photo(tmp_path):
    detector = load_detector(build_model_folder(tmp_path / "model"))
    found = detector.detect(np.zeros((300, 400, 3), np.uint8))
    assert len(found) >= 1
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [400, 300, 400, 300]).all()
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    surest = float(found.scores[0])
    assert len(detector.detect(np.zeros((300, 400, 3), np.uint8), confidence=min(surest + 1e-3, 1.0))) < len(found)
    assert len(detector.detect(np.zeros((300, 400, 3), np.uint8), max_detections=1)) == 1
    only = detector.detect(np.zeros((300, 400, 3), np.uint8), classes=[int(found.class_ids[0])])
    assert set(only.class_ids.tolist()) == {int(found.class_ids[0])}


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(NotFound, match=r"model\.json is missing"):
        load_detector(tmp_path)


def test_a_changed_model_file_is_refused(tmp_path):
    folder = build_model_folder(tmp_path / "model")
    with (folder / "model.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Tampered, match=r"model\.bin"):
        load_detector(folder)


def test_changed_class_names_are_refused(tmp_path):
    folder = build_model_folder(tmp_path / "model")
    record = (folder / "model.json").read_text()
    name = load_detector(folder).names[0]
    (folder / "model.json").write_text(record.replace(f'"{name}"', '"gold"', 1))
    with pytest.raises(Tampered, match="names"):
        load_detector(folder)


def test_detections_must_fit_together():
    with pytest.raises(ValueError, match="shapes"):
        Detections(np.zeros((2, 4)), np.zeros(3), np.zeros(3, int))


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})]
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photo_comes_reduced_for_a_model_but_not_below_what_it_needs(kind, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _encode(_photo(1030, 500), kind, exif=exif.tobytes(), **options)
    photo = decode_photo(data, model_size=64)
    wide = orientation == 1
    assert (photo.width, photo.height) == ((1030, 500) if wide else (500, 1030))
    assert photo.factor == 8
    assert photo.pixels.shape == ((63, 129, 3) if wide else (129, 63, 3))
    assert decode_photo(data, model_size=300).factor == 2
    assert decode_photo(data, model_size=350).factor == 1
    assert decode_photo(data).pixels.shape == ((500, 1030, 3) if wide else (1030, 500, 3))
    whole = photo.in_original(np.array([[0, 0, photo.pixels.shape[1], photo.pixels.shape[0]]]))
    assert whole.tolist() == [[0, 0, photo.width, photo.height]]


def test_a_reduced_photo_shows_the_same():
    pixels = np.zeros((800, 1600, 3), np.uint8)
    pixels[200:400, 400:1200] = 255
    for kind, options in (("JPEG", {"quality": 95}), ("PNG", {})):
        photo = decode_photo(_encode(Image.fromarray(pixels), kind, **options), model_size=80)
        assert photo.factor == 8
        rows, columns = np.nonzero(photo.pixels[..., 0] > 127)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert photo.in_original(np.array([found])).tolist() == [[400, 200, 1200, 400]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stride": 0}, "stride must divide the imgsz of 64, got 0"),
        ({"stride": -1}, "stride must divide the imgsz of 64, got -1"),
        ({"stride": 7}, "stride must divide the imgsz of 64, got 7"),
        ({"stride": 10**9}, "stride must divide"),
        ({"stride": float("inf")}, "not a model record"),
        ({"stride": "x"}, "not a model record"),
        ({"imgsz": -320}, "imgsz must be from 1 to 8192, got -320"),
        ({"imgsz": 100_000}, "imgsz must be from 1 to 8192, got 100000"),
    ],
)
def test_an_input_that_cannot_be_is_said(tmp_path, change, words):
    folder = build_model_folder(tmp_path / "model")
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InvalidInput, match=words):
        load_detector(folder)
