"""JSON of foreign origin: any size, any encoding, keys written twice, and what is no JSON at all."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pycocotools import mask as cocoapi

from hakka.data.formats.json_lists import read_document
from hakka.data.formats.json_text import NotJson, Repeated, find_repeated, parse_json
from hakka.data.formats.rle import rle_bounds, segmentation_bounds

TEXT = st.text(alphabet='a":,\\{}[] \n\té\u2028😀', max_size=6)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
OBJECT = st.dictionaries(st.sampled_from(["images", "annotations", "info", 'a"b', "\\"]), VALUE, max_size=5)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("json") / "a.json"


def read(path: Path, **sizes: int) -> dict | None:
    """All members of the object in a file, None if it is refused."""
    try:
        document = read_document(path, **sizes)
        lists = {key: [value for piece in document.pieces(key) for value in piece] for key in document.lists()}
    except NotJson as error:
        return None if re.fullmatch("not .+", str(error)) else {"two lines": str(error)}
    return document.members | lists


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OBJECT, st.sampled_from(ENCODINGS), st.sampled_from([None, 1]), st.booleans(), st.integers(16, 80))
def test_an_object_is_the_same_read_whole_and_in_pieces(file, value, encoding, indent, ascii_only, block):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, separators=(" ,", " : ") if indent else None)
    file.write_bytes(text.replace("\n", "\r\n").encode(encoding) if indent else text.encode(encoding))
    whole = read(file)
    assert _same(whole, json.loads(text))
    pieces = read(file, small=0, block=max(block, len(text.encode()) // 8))
    assert _same(pieces, whole)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OBJECT, st.data())
@example({"images": [1]}, None)
def test_what_is_broken_is_refused_either_way(file, value, data):
    text = json.dumps(value)
    if data is not None:
        place = data.draw(st.integers(0, len(text)))
        text = (
            text[:place]
            + data.draw(st.sampled_from(["", ",", "[", "]", "{", "}", '"', "\\", "1", ":", "\x00"]))
            + (text[place + data.draw(st.integers(0, 2)) :])
        )
    file.write_text(text)
    whole, pieces = read(file), read(file, small=0, block=64)
    if not isinstance(_loads(text), dict):
        assert not whole  # another value than an object has no members
        assert not pieces
    elif pieces is not None:
        assert _same(whole, pieces)


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _same(one: object, other: object) -> bool:
    """Equal, NaN too; whole numbers beyond 64 bits are near."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float) and not isinstance(one, bool):
        return one == other or (one != one and other != other) or math.isclose(one, other)
    return one == other and type(one) is type(other)


@pytest.mark.parametrize(
    ("text", "key", "differ"),
    [
        ('{"a": 1, "b": 2}', None, False),
        ('{"a": 1, "a": 2}', "a", True),
        ('{"a" :1, "b":1, "b":2}', "b", True),
        ('{"a": 1, "a": 1}', "a", False),
        ('{"a": 1, "a": true}', "a", True),
        ('{"a": {"b": [[{"c": 1, "c": 2}]]}}', "c", True),
        ('{"a": "\\":", "b": "x\\":"}', None, False),
        ('{"a": 1, "\\u0061": 2}', "a", True),
    ],
)
def test_a_key_that_comes_twice_is_noticed_however_it_is_written(text, key, differ):
    value = parse_json(text.encode())
    assert (value.key if isinstance(value, Repeated) else None) == key
    assert (find_repeated(value) is not None) == differ


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1)), max_size=4))
def test_no_key_that_comes_twice_gets_through(pairs):
    text = "{" + ",".join(f'"{key}" :{value}' if value else f'"{key}":0' for key, value in pairs) + "}"
    assert isinstance(parse_json(text.encode()), Repeated) == (len({key for key, _ in pairs}) < len(pairs))


def test_pipes_folders_and_missing_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe", "folder", "gone"):
        assert read(tmp_path / f"{name}.json") is None


@pytest.mark.parametrize(
    ("head", "filling", "reason"),
    [
        (b"", b"", "utf-32-be"),  # a gigabyte of zeros
        (b'{"images": [', b"", "ends with b'\\x00'"),
        (b"x", b"}", "not an object"),
        (b"x", b"y", "ends with b'y'"),
        (b'{"a": "', b"}", "bytes outside of its lists"),
        (b'{"a": ["', b"}", "an element of more than"),
        (b'{"a": ', b"[{}", "nested too deep"),
        (b'{"images": [', b"1,1}", "a bracket too many"),
        (b'{"images": [{}', b',{"a":[]}', "within a string, a list"),
        (b"", b"[", "ends with b'['"),
        (b'{"images": [{}', b",{}", "more than 24,000,000 objects"),
        (b"\xff\xfe", b"a\x00", "begins with 'a'"),
    ],
)
def test_a_large_file_that_is_none_ends_in_a_sentence_within_bounded_memory(tmp_path, head, filling, reason):
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.write(head)
        for _ in range(90 if filling else 0):
            file.write(filling * (2**20 // len(filling)))
        file.truncate(2**30 if not filling else None)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from hakka.data.formats.json_lists import read_document; from hakka.data.formats.json_text import NotJson\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "try:\n    document = read_document(Path(sys.argv[1]))\n"
        "    [0 for key in document.lists() for _ in document.pieces(key)]\n"
        "except NotJson as error: print(error)"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread reserves address space
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert reason in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1


def _mask(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    return np.array(bits, dtype=np.uint8).reshape(height, width)


@settings(deadline=None)
@given(st.composite(_mask)())
def test_masks_have_the_bounds_that_cocoapi_sees(mask):
    packed = cocoapi.encode(np.asfortranarray(mask))
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    runs = np.diff(np.flatnonzero(np.diff(flat)), prepend=0)
    for counts in (packed["counts"].decode(), runs.tolist()):
        bounds = rle_bounds(mask.shape, counts)
        if not mask.any():
            assert bounds == "the RLE mask is empty"
        else:
            left, top, width, height = cocoapi.toBbox(packed)
            assert bounds == (left, top, left + width, top + height)


@settings(deadline=None)
@given(st.text(alphabet=[chr(code) for code in range(40, 120)], max_size=12) | st.lists(st.integers(), max_size=5))
def test_counts_that_are_none_are_a_reason(counts):
    bounds = rle_bounds((7, 9), counts)
    assert isinstance(bounds, str) or (0 <= bounds[0] < bounds[2] <= 9 and 0 <= bounds[1] < bounds[3] <= 7)


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([[1, 2, 5, 2, 5, 9]], (1, 2, 5, 9)),
        ([[1, 2, 5, 2, 5, 9], [0, 0, 1, 0, 1, 20]], (0, 0, 5, 20)),
        ({"size": [4, 3], "counts": [5, 2, 5]}, (1, 1, 2, 3)),
        ([[1, 2, 5, 2]], "3 or more pairs"),
        ([[1, 2, 5, 2, 5, math.nan]], "finite"),
        ([[1, 2, 5, 2, 5, True]], "finite"),
        ({"size": [3, 4], "counts": [5, 2, 5]}, "is for 4 x 3 pixels"),
        ({"size": [4, 3], "counts": [5, 2]}, "add up to 12"),
        ({"size": [4, 3], "counts": [12]}, "is empty"),
        ({"size": [4, -3], "counts": []}, "must be [height, width]"),
        ("box", "must be polygons"),
    ],
)
def test_outlines_become_bounds_or_a_reason(segmentation, expected):
    bounds = segmentation_bounds(segmentation, (3, 4))
    assert expected in bounds if isinstance(expected, str) else bounds == expected


def test_one_element_of_very_many_values_is_refused_before_it_is_parsed(file):
    file.write_bytes(b'{"images": [{"x": [' + b"[]," * 2_100_000 + b"1]}]}")
    document = read_document(file)
    with pytest.raises(NotJson, match="more than 4,000,000 values"):
        list(document.pieces("images"))
