"""Whatever bytes arrive: a query or one sentence, never another error."""

import json
import struct

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hakka.detector.decode import decode_photo
from hakka.errors import InvalidInput
from serving.fetch import read_address
from serving.protocol import Query, Url, V2Request, class_numbers, image_bytes, parse_v1, parse_v2, read_v2
from tests.serving.conftest import encode_photo

PHOTO = encode_photo(24, 16)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["AAAA", "apple", "image", "BYTES", "UINT8", "boxes", "http://127.0.0.1/x"]),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner))
RULES = dict.fromkeys(("confidence", "iou", "max_detections", "classes", "timeout", "binary_data_output"), VALUES)
SHAPES = VALUES | st.lists(st.integers(-2, 5) | st.integers(2**31, 2**63), max_size=5)


def document(required: dict, optional: dict):
    return st.fixed_dictionaries(required, optional=optional)


V1 = document(
    {},
    {
        "instances": VALUES
        | st.lists(document({}, {"image": VALUES | document({}, {"b64": VALUES, "url": VALUES}), **RULES}), max_size=3)
    },
)
TENSOR = document(
    {"name": st.just("image") | VALUES},
    {
        "datatype": st.sampled_from(["BYTES", "UINT8"]) | VALUES,
        "shape": SHAPES,
        "parameters": VALUES | document({}, {"binary_data_size": st.integers(-1, 40) | VALUES}),
        "data": VALUES | st.lists(st.binary(max_size=4) | st.integers(-1, 256), max_size=12),
    },
)
V2 = document(
    {"inputs": VALUES | st.lists(TENSOR, min_size=1, max_size=2)},
    {
        "id": VALUES,
        "parameters": VALUES | document({}, RULES),
        "outputs": VALUES | st.lists(document({}, {"name": VALUES, "parameters": VALUES}), max_size=3),
    },
)
TAILS = st.binary(max_size=40) | st.builds(
    lambda part, more: struct.pack("<I", len(part)) + part + more, st.binary(max_size=12), st.binary(max_size=2)
)
THOROUGH = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def text(value) -> bytes:
    return json.dumps(value, default=lambda raw: raw.decode("latin-1")).encode()


def check(parse):
    """What comes out is usable in full, or is one short sentence."""
    try:
        found = parse()
        queries = found.queries if isinstance(found, V2Request) else found
        assert 1 <= len(queries) <= 32
        for query in queries:
            assert isinstance(query, Query)
            class_numbers(query, ("apple", "AAAA"))
            if isinstance(query.image, np.ndarray):
                assert query.image.ndim == 3
                assert query.image.dtype == np.uint8
            elif not isinstance(query.image, Url):
                image_bytes(query)
    except InvalidInput as error:
        said = str(error)
        assert said
        assert len(said) < 400
        assert "\n" not in said


@THOROUGH
@given(st.binary(max_size=60) | V1.map(text))
def test_any_v1_body(body):
    check(lambda: parse_v1(body))


@THOROUGH
@given(st.binary(max_size=30) | V2.map(text), TAILS, st.none() | st.text(max_size=6) | st.integers(-2, 400).map(str))
def test_any_v2_body_and_header(head, tail, header):
    check(lambda: parse_v2(head + tail, header))
    check(lambda: parse_v2(head + tail, str(len(head))))


@THOROUGH
@given(V2, TAILS)
def test_any_v2_document_and_tail(given_document, tail):
    # As gRPC gives it: elements may be bytes.
    check(lambda: read_v2(given_document, memoryview(tail)))


@THOROUGH
@given(st.text(max_size=40) | st.text(max_size=30).map(lambda rest: f"http://a{rest}"))
@example("http://a:99999/")
@example("http://[::1")
def test_any_address(url):
    try:
        address = read_address(url)
    except InvalidInput:
        return
    assert address.scheme in ("http", "https")
    assert "/.." not in address.path


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damaged_photo(data):
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"]))
    photo = bytearray(encode_photo(24, 16, kind))
    for _ in range(data.draw(st.integers(0, 4))):
        photo[data.draw(st.integers(0, len(photo) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(photo)))
    try:
        found = decode_photo(bytes(photo[:cut]) if data.draw(st.booleans()) else bytes(photo), model_size=4)
    except InvalidInput as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert found.pixels.shape[2:] == (3,)
        assert found.pixels.dtype == np.uint8
