"""The scan's quick look gives the verdict of a full decode, whatever is done to the bytes, and never hangs."""

import os
import random
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from data_jpegs import (
    JPEGS,
    MAKES,
    PLAIN,
    change_frame,
    encode,
    exif,
    full_verdict,
    many_scans,
    picture,
    png_header,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from hakka.data.decode import EXACT_BELOW, Picture, decode, strict_decoding
from hakka.data.jpeg import MAX_SCANS
from hakka.data.scan import Scan, perceptual_hash, read_scans, scan_images, write_scans
from hakka.errors import InvalidInput


def quick_verdict(data: bytes) -> str | None:
    """What the scan's decoder says: None, or why not."""
    try:
        decode(data, Picture())
    except Exception as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None


def assert_same_verdict(data: bytes) -> None:
    with strict_decoding():
        full, quick = full_verdict(data), quick_verdict(data)
    if full is not None and full.startswith("cannot identify"):
        assert quick is not None
    else:
        assert quick == full


def scan_one(tmp_path: Path, data: bytes, name: str = "a.jpg") -> Scan:
    (tmp_path / name).write_bytes(data)
    return scan_images(tmp_path, [name])[name]


@pytest.mark.parametrize("make", MAKES)
def test_cut_off_anywhere_the_verdict_is_that_of_a_full_decode(make):
    data = MAKES[make]
    with strict_decoding():
        assert full_verdict(data) is None
        assert quick_verdict(data) is None
    for i in range(50):
        assert_same_verdict(data[: len(data) * i // 50])
    for cut in (1, 2, 3, 20):
        assert_same_verdict(data[:-cut])


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(make=st.sampled_from(sorted(JPEGS)), seed=st.integers(0, 2**32), edits=st.integers(1, 12))
def test_flipped_and_lost_bytes_change_nothing_about_that(make, seed, edits):
    data, rng = bytearray(JPEGS[make]), random.Random(seed)
    header = data.find(b"\xff\xda") + 20
    for _ in range(edits):
        at = rng.randrange(2, header if rng.random() < 0.6 else len(data))
        data[at : at + rng.choice((1, 1, 9))] = rng.choice(
            (bytes([data[at] ^ 1 << rng.randrange(8)]), b"\xff\xd9", b"")
        )
    with strict_decoding():
        try:
            with Image.open(BytesIO(bytes(data))) as image:
                if image.width * image.height > 4_000_000:  # a flipped size: right, but slow to compare
                    return
        except Exception:
            pass
    assert_same_verdict(bytes(data))


@pytest.mark.parametrize(
    "changes",
    [
        {"factors": 0x31},
        {"factors": 0x13},
        {"factors": 0x41},
        {"factors": 0x00},
        {"marker": 0xC1},
        {"marker": 0xC2},
        {"marker": 0xC3},
        {"marker": 0xC9},
        {"height": 40},
        {"height": 0},
        {"height": 1400, "width": 1200},
    ],
)
def test_a_header_that_says_something_else_gets_the_verdict_of_a_full_decode(changes):
    for make in ("4:2:0", "4:4:4", "grey", "progressive 4:2:0"):
        assert_same_verdict(change_frame(MAKES[make], **changes))


def test_a_picture_that_ends_before_its_header_says_is_told_by_its_grey_end(tmp_path):
    assert scan_one(tmp_path, PLAIN).filled == 0
    longer = scan_one(tmp_path, change_frame(PLAIN, height=2 * 522))
    assert longer.problem is None
    assert (longer.width, longer.height) == (530, 1044)
    assert longer.filled == pytest.approx(0.5, abs=0.02)
    closed_early = PLAIN[: len(PLAIN) // 4] + b"\xff\xd9"
    assert scan_one(tmp_path, closed_early).filled > 0.6
    assert scan_one(tmp_path, encode(Image.new("L", (200, 200), 250))).filled == 0


@pytest.mark.parametrize("count", [MAX_SCANS, MAX_SCANS + 1, 50_000])
def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded(tmp_path, count):
    problem = scan_one(tmp_path, many_scans(count)).problem
    assert problem == (None if count == MAX_SCANS else f"a JPEG may have 128 scans at most, got {count}")


def test_scans_that_do_not_belong_to_the_picture_are_not_counted(tmp_path):
    inside = encode(picture(), progressive=True, exif=exif(1, b"\xff\xda" * 500))
    assert scan_one(tmp_path, inside + b"\xff\xda\x00\x08" * 500).problem is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"<html>", "must be JPEG, PNG or WebP, got something else"),
        (encode(picture(size=(9, 9)), "GIF"), "must be JPEG, PNG or WebP, got GIF"),
        (encode(picture(size=(9, 9)), "TIFF"), "must be JPEG, PNG or WebP, got TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "must be JPEG, PNG or WebP, got HEIC"),
        (b"\xff\xd8", "does not decode to its end: its header is broken"),
        (change_frame(PLAIN, height=65000, width=65000), "may have 178956970 pixels at most, got 65000 x 65000"),
        (png_header(13000, 13000), "no plain JPEG may have 100000000 pixels at most, got 13000 x 13000"),
    ],
)
def test_what_is_no_usable_image_is_named(tmp_path, data, words):
    assert words in scan_one(tmp_path, data).problem


def test_what_is_no_regular_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "null.jpg").symlink_to("/dev/null")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    names = ["pipe.jpg", "folder.jpg", "null.jpg", "loop.jpg", "gone.jpg", "a\0b.jpg", "huge.jpg"]
    scans = scan_images(tmp_path, names)
    assert list(scans) == names
    problems = {name: scan.problem for name, scan in scans.items()}
    assert {problems[name] for name in names[:3]} == {"an image must be a regular file"}
    assert problems["gone.jpg"] == "no such image file"
    assert all(problems[name].startswith("the file cannot be read") for name in ("loop.jpg", "a\0b.jpg"))
    assert problems["huge.jpg"].startswith("an image file may have 536870912 bytes at most")


def test_a_low_deviation_is_that_of_all_pixels_and_a_high_one_never_above_it(tmp_path):
    for amplitude in (0, 1, 3, 6, 12, 20, 40, 70):
        noise = np.random.default_rng(amplitude).normal(120, amplitude, (700, 900)) + np.linspace(-9, 9, 900)
        photo = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
        data = encode(photo, quality=95)
        with Image.open(BytesIO(data)) as image:
            exact = float(np.asarray(image).std())
        found = scan_one(tmp_path, data).deviation
        assert found == pytest.approx(exact, abs=0.001) if found < EXACT_BELOW else EXACT_BELOW <= found <= exact + 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_as_large_and_looks_as_it_is_seen(tmp_path, orientation):
    photo = picture(size=(400, 300))
    turned = scan_one(tmp_path, encode(photo, exif=exif(orientation), quality=95))
    tagged = photo.copy()
    tagged.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(tagged)
    plain = scan_one(tmp_path, encode(upright, "PNG"))
    assert (turned.width, turned.height) == upright.size
    assert turned.orientation == orientation
    assert np.bitwise_count(np.frombuffer(turned.look, np.uint8) ^ np.frombuffer(plain.look, np.uint8)).sum() <= 16


def test_the_look_at_a_small_picture_is_the_look_at_the_whole(tmp_path):
    for seed in range(8):
        data = encode(picture(seed=seed, size=(1024, 768)))
        with Image.open(BytesIO(data)) as image:
            whole = perceptual_hash(image.convert("L"))
        small = scan_one(tmp_path, data).look
        assert np.bitwise_count(np.frombuffer(whole, np.uint8) ^ np.frombuffer(small, np.uint8)).sum() <= 10


def test_a_16_bit_png_is_not_white(tmp_path):
    values = (np.asarray(picture("L", size=(90, 70)), dtype=np.uint16) << 8) + 7
    scan = scan_one(tmp_path, encode(Image.fromarray(values), "PNG"))
    assert 20 < scan.brightness < 235
    assert scan.deviation > 10


def test_scans_come_back_from_their_file_as_they_were(tmp_path):
    (tmp_path / "ok.jpg").write_bytes(PLAIN)
    (tmp_path / "cut.jpg").write_bytes(PLAIN[:9000])
    scans = scan_images(tmp_path, ["ok.jpg", "cut.jpg", "gone \udcff.jpg"])
    write_scans(tmp_path / "scans.jsonl", scans.values())
    assert read_scans(tmp_path / "scans.jsonl") == scans
    assert list(read_scans(tmp_path / "scans.jsonl")) == list(scans)
    text = (tmp_path / "scans.jsonl").read_text()
    for bad in (
        text[:-40],
        text.replace('"length": ', '"length": "x", "n": '),
        text.replace('"look"', '"lock"'),
        "[]\n",
    ):
        (tmp_path / "bad.jsonl").write_text(bad)
        with pytest.raises(InvalidInput, match=r"line \d of .*bad\.jsonl"):
            read_scans(tmp_path / "bad.jsonl")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_scans(tmp_path / "none.jsonl")
