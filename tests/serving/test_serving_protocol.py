import base64
import json
import struct
import time

import numpy as np
import pytest

from hakka.errors import InvalidInput
from serving.protocol import OUTPUTS, Answer, Url, class_numbers, image_bytes, parse_v1, parse_v2
from serving.responses import v1_response, v2_response

B64 = base64.b64encode(b"photo").decode()
NAMES = ("apple", "banana", "carrot")


def v1(**instance) -> bytes:
    return json.dumps({"instances": [{"image": {"b64": B64}, **instance}]}).encode()


def v2(tensor=None, **document) -> bytes:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [B64], **(tensor or {})}
    return json.dumps({"inputs": [tensor], **document}).encode()


def answer(n: int) -> Answer:
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4) + np.float32(0.123456)
    return Answer("p1", "v1", 640, 480, boxes, np.full(n, 0.9, np.float32), np.arange(n), NAMES[:n])


def test_v1_request_keeps_order_and_parameters():
    body = {
        "instances": [
            {"image": {"b64": B64}, "confidence": 0, "iou": None},
            {"image": {"b64": "AAAA"}, "max_detections": 5, "classes": ["apple"]},
        ]
    }
    first, second = parse_v1(json.dumps(body).encode())
    assert (image_bytes(first), first.confidence, first.iou, first.max_detections) == (b"photo", 0.0, None, 300)
    assert (image_bytes(second), second.max_detections, second.classes) == (b"\0\0\0", 5, ("apple",))


def test_v1_parameters_hold_for_every_photo_that_does_not_say_otherwise():
    body = {
        "signature_name": "serving_default",  # what clients send of their own
        "parameters": {"confidence": 0.4, "max_detections": 5, "classes": ["apple"]},
        "instances": [
            {"image": {"b64": B64}, "confidence": None},
            {"image": {"b64": B64}, "confidence": 0, "classes": ["carrot"]},
        ],
    }
    first, second = parse_v1(json.dumps(body).encode())
    assert (first.confidence, first.max_detections, first.classes) == (0.4, 5, ("apple",))
    assert (second.confidence, second.max_detections, second.classes) == (0, 5, ("carrot",))
    with pytest.raises(InvalidInput, match=r"^parameters\.classes: unknown class 'apple'"):
        class_numbers(first, ("banana",))
    with pytest.raises(InvalidInput, match=r"^instances\[1\]\.classes: unknown class 'carrot'"):
        class_numbers(second, ("banana",))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is not valid JSON"),
        (b'{"instances": ', "the body is not valid JSON"),
        (b'{"instances": [NaN]}', "the body is not valid JSON"),
        (b"[" * 5000 + b"]" * 5000, "the body is not valid JSON"),
        (b"\xff\xfe", "the body is not valid JSON"),
        (b"[1]", "the body must be a JSON object, got [1]"),
        (b"{}", "instances is missing"),
        (b'{"instances": {}}', "instances must be a list, got {}"),
        (b'{"instances": []}', "instances must hold 1 to 32 photos, got 0"),
        (b'{"instances": ["x"]}', "instances[0] must be an object like"),
        (b'{"instances": [{}]}', "instances[0].image is missing"),
        (b'{"instances": [{"image": "x"}]}', "instances[0].image must be an object, got 'x'"),
        (b'{"instances": [{"image": {}}]}', "instances[0].image.b64 is missing"),
        (b'{"instances": [{"image": {"b64": 5}}]}', "instances[0].image.b64 must be a string, got 5"),
        (v1(confidence=1.5), "instances[0].confidence must be a number from 0 to 1, got 1.5"),
        (v1(confidence=-0.1), "instances[0].confidence must be a number from 0 to 1, got -0.1"),
        (v1(confidence="0.5"), "instances[0].confidence must be a number from 0 to 1, got '0.5'"),
        (v1(confidence=True), "instances[0].confidence must be a number from 0 to 1, got True"),
        (v1(iou=2), "instances[0].iou must be a number from 0 to 1, got 2"),
        (v1(max_detections=0), "instances[0].max_detections must be a whole number from 1 to 300, got 0"),
        (v1(max_detections=2.5), "instances[0].max_detections must be a whole number from 1 to 300, got 2.5"),
        (v1(classes=[]), "instances[0].classes must be a list of class names, got []"),
        (v1(classes=[1]), "instances[0].classes must be a list of class names, got [1]"),
        (v1(confidance=0.5), "instances[0].confidance is not a parameter; known are confidence, iou"),
        (b'{"instances": [], "confidence": 0.5}', "confidence must stand in parameters, not beside it"),
        (b'{"instances": [], "parameters": 5}', "parameters must be an object, got 5"),
        (b'{"instances": [], "parameters": {"iou": 2}}', "parameters.iou must be a number from 0 to 1, got 2"),
        (b'{"instances": [], "parameters": {"timeout": 2}}', "parameters.timeout is not a parameter; known are"),
    ],
)
def test_v1_refuses(body, sentence):
    with pytest.raises(InvalidInput) as error:
        parse_v1(body)
    assert str(error.value).startswith(sentence)
    assert len(str(error.value)) < 300


def test_v2_request_by_json():
    request = parse_v2(v2(id="42", parameters={"confidence": 0.5, "classes": "apple, carrot", "priority": 1}))
    [query] = request.queries
    assert (request.id, image_bytes(query), query.confidence) == ("42", b"photo", 0.5)
    assert query.classes == ("apple", "carrot")
    assert request.outputs == tuple((name, False) for name in OUTPUTS)


def test_v2_request_without_id_gets_one():
    assert parse_v2(v2()).id != parse_v2(v2()).id


def test_v2_request_by_binary_tensor():
    element = struct.pack("<I", 5) + b"photo"
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(element)}}
    outputs = [{"name": "labels"}, {"name": "boxes", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    request = parse_v2(head + element, str(len(head)))
    assert [image_bytes(query) for query in request.queries] == [b"photo"]
    assert request.outputs == (("labels", False), ("boxes", True))


def binary(size, tail, header=None, kind="BYTES", shape=(1,)):
    tensor = {"name": "image", "datatype": kind, "shape": shape, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + tail, str(len(head)) if header is None else header


def test_v2_takes_several_files():
    elements = b"".join(struct.pack("<I", len(part)) + part for part in (b"one", b"", b"three"))
    request = parse_v2(*binary(len(elements), elements, shape=[3]))
    assert [image_bytes(query) for query in request.queries] == [b"one", b"", b"three"]
    assert [query.place for query in request.queries] == [f"input 'image'[{index}]" for index in range(3)]
    assert [name for name, _ in request.outputs][4:] == ["counts", "sizes", "prediction_ids"]
    nested = parse_v2(v2({"shape": [2, 1], "data": [[B64], [B64]]}))
    assert [image_bytes(query) for query in nested.queries] == [b"photo", b"photo"]


@pytest.mark.parametrize("shape", [[2, 3, 3], [1, 2, 3, 3], [2, 1, 3, 3]])
def test_v2_pixels_are_the_same_in_every_form(shape):
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    photos = values.reshape(-1, *shape[-3:])
    forms = [
        parse_v2(*binary(values.size, values.tobytes(), kind="UINT8", shape=shape)),
        parse_v2(v2({"datatype": "UINT8", "shape": shape, "data": values.ravel().tolist()})),
        parse_v2(v2({"datatype": "UINT8", "shape": shape, "data": values.tolist()})),
    ]
    for request in forms:
        assert len(request.queries) == len(photos)
        for query, photo in zip(request.queries, photos, strict=True):
            np.testing.assert_array_equal(query.image, photo)


def test_binary_pixels_are_not_copied():
    body, header = binary(12, bytes(12), kind="UINT8", shape=[2, 2, 3])
    [query] = parse_v2(body, header).queries
    assert np.shares_memory(query.image, np.frombuffer(body, np.uint8))


def test_v1_takes_an_address_in_place_of_a_file():
    [query] = parse_v1(json.dumps({"instances": [{"image": {"url": "http://a/b.jpg"}, "iou": 0.4}]}).encode())
    assert (query.image, query.place, query.iou) == (Url("http://a/b.jpg"), "instances[0].image.url", 0.4)


def test_timeouts_become_one_deadline():
    request = parse_v2(v2(parameters={"timeout": 2_000_000}))
    assert request.timeout == 2
    now = time.monotonic()
    assert request.before(None)[0].deadline == pytest.approx(now + 2, abs=1)
    assert request.before(50)[0].deadline == pytest.approx(now + 2, abs=1)
    assert parse_v2(v2(parameters={"timeout": 0})).before(None)[0].deadline is None


def pixels(shape, data) -> bytes:
    return v2({"datatype": "UINT8", "shape": shape, "data": data if data is None else list(data)})


@pytest.mark.parametrize(
    ("body", "header", "sentence"),
    [
        (b"{}", None, "inputs is missing"),
        (b'{"inputs": []}', None, "inputs must hold one tensor named 'image', got []"),
        (b'{"inputs": [{"name": "x"}]}', None, "inputs must hold one tensor named 'image'"),
        (b'{"inputs": [7]}', None, "inputs must hold one tensor named 'image'"),
        (v2({"datatype": "FP32"}), None, "input 'image': datatype must be BYTES (files) or UINT8 (pixels), got 'FP32'"),
        (
            v2({"datatype": ["BYTES"]}),
            None,
            "input 'image': datatype must be BYTES (files) or UINT8 (pixels), got ['BYTES']",
        ),
        (v2({"shape": [2]}), None, "input 'image': data must be a list of 2 base64 strings, got ["),
        (v2({"shape": [33]}), None, "input 'image': shape of BYTES must be [n] for 1 to 32 photos, got [33]"),
        (v2({"shape": []}), None, "input 'image': shape of BYTES must be [n] for 1 to 32 photos, got []"),
        (v2({"shape": None}), None, "input 'image': shape must be a list of whole numbers from 1, got None"),
        (v2({"shape": [True]}), None, "input 'image': shape must be a list of whole numbers from 1, got [True]"),
        (v2({"shape": [-1]}), None, "input 'image': shape must be a list of whole numbers from 1, got [-1]"),
        (v2({"shape": [2**62, 2**62]}), None, "input 'image': shape of BYTES must be [n] for 1 to 32 photos, got [46"),
        (v2({"data": []}), None, "input 'image': data must be a list of one base64 string, got []"),
        (v2({"data": [B64, B64]}), None, "input 'image': data must be a list of one base64 string"),
        (v2({"data": [[], B64]}), None, "input 'image': data must be a list of one base64 string"),
        (pixels([2, 3], range(6)), None, "input 'image': shape of UINT8 must be [height, width, 3], or [n, height"),
        (pixels([1, 1, 4], range(4)), None, "input 'image': shape of UINT8 must be [height, width, 3], or [n, height"),
        (pixels([33, 1, 1, 3], [0] * 99), None, "input 'image': shape of UINT8 must be [height, width, 3], or [n, h"),
        (pixels([1, 2, 3], range(5)), None, "input 'image': shape [1, 2, 3] needs 6 bytes, got 5"),
        (pixels([2**62, 2**62, 3], [1]), None, "input 'image': shape [4611686018427387904, 4611686018427387904, 3]"),
        (pixels([1, 1, 3], [0, 1, 256]), None, "input 'image': data of UINT8 must be whole numbers from 0 to 255"),
        (pixels([1, 1, 3], [0, 1, -1]), None, "input 'image': data of UINT8 must be whole numbers from 0 to 255"),
        (pixels([1, 1, 3], [0, 1, 1.0]), None, "input 'image': data of UINT8 must be whole numbers from 0 to 255"),
        (pixels([1, 1, 3], [0, 1, True]), None, "input 'image': data of UINT8 must be whole numbers from 0 to 255"),
        (pixels([1, 1, 3], [[0], 1, 2]), None, "input 'image': data of UINT8 must be whole numbers from 0 to 255"),
        (pixels([1, 1, 3], None), None, "input 'image': data of UINT8 must be whole numbers from 0 to 255, got None"),
        (v2({"data": [3]}), None, "input 'image': data must be a list of one base64 string, got [3]"),
        (v2(id=7), None, "id must be a string, got 7"),
        (v2(classes="apple"), None, "classes must stand in parameters, not beside it"),
        (v2(parameters=[]), None, "parameters must be an object, got []"),
        (v2(parameters={"confidence": 7}), None, "parameters.confidence must be a number from 0 to 1, got 7"),
        (v2(parameters={"threshold": 7}), None, "parameters.threshold is not a parameter"),
        (v2(outputs=[{"name": "masks"}]), None, "outputs[0].name must be one of boxes, scores, class_ids, labels"),
        (v2(), "many", "header Inference-Header-Content-Length must be from 0 to the body's"),
        (v2(), "999999", "header Inference-Header-Content-Length must be from 0 to the body's"),
        (v2(), "-1", "header Inference-Header-Content-Length must be from 0 to the body's"),
        (v2(), "9" * 5000, "header Inference-Header-Content-Length must be from 0 to the body's"),
        (v2(), "3", "the body is not valid JSON"),
        (v2() + b"more", str(len(v2())), "input 'image': binary_data_size is missing, but 4 bytes follow the JSON"),
        (v2(parameters={"timeout": -1}), None, "parameters.timeout must be a whole number of microseconds from 0"),
        (*binary(9, b"\5\0\0\0phot"), "input 'image': binary_data_size must be the 8 bytes that follow, got 9"),
        (*binary(9, b"\6\0\0\0photo"), "input 'image': a binary BYTES tensor is each element's length in 4 bytes"),
        (*binary(9, b"\4\0\0\0photo"), "input 'image': a binary BYTES tensor is each element's length in 4 bytes"),
        (*binary(9, b"\xff\xff\xff\xffphoto"), "input 'image': a binary BYTES tensor is each element's length in 4"),
        (*binary(2, b"\0\0"), "input 'image': a binary BYTES tensor is each element's length in 4 bytes"),
        (*binary(5, bytes(5), kind="UINT8", shape=[1, 2, 3]), "input 'image': shape [1, 2, 3] needs 6 bytes, got 5"),
    ],
)
def test_v2_refuses(body, header, sentence):
    with pytest.raises(InvalidInput) as error:
        parse_v2(body, header)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("text", ["!!!!", "AAA", "AA==AA", "AAAA ", "äöü", "data:image/jpeg;base64,AAAA"])
def test_base64_must_be_whole(text):
    [query] = parse_v1(json.dumps({"instances": [{"image": {"b64": text}}]}).encode())
    with pytest.raises(InvalidInput, match=r"^instances\[0\]\.image\.b64 is not valid base64: "):
        image_bytes(query)


LARGE = bytes(range(256)) * 1000  # as base64, more than one piece of what is decoded at once


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(LARGE),
        base64.b64encode(LARGE).replace(b"/", b"\\/"),  # as PHP writes it
        base64.b64encode(LARGE).replace(b"+", b"\\u002B"),  # as .NET does
        base64.encodebytes(LARGE).replace(b"\n", b"\\r\\n"),  # in lines, as in mails
    ],
    ids=["plain", "PHP", ".NET", "lines"],
)
def test_a_large_photo_as_base64_stands_where_a_small_one_would(text):
    first = b'{"classes": ["a \\"b\\\\", "[{"], "image": {"b64": "%b"}}' % text
    queries = parse_v1(b'{"instances": [%b, {"image": {"b64": "%b"}}]}' % (first, B64.encode()))
    assert [image_bytes(query) for query in queries] == [LARGE, b"photo"]
    assert queries[0].classes == ('a "b\\', "[{")
    tensor = b'{"name": "image", "datatype": "BYTES", "shape": [2, 1], "data": [["%b"], ["%b"]]}' % (B64.encode(), text)
    body = b'{"inputs": [%b]}' % tensor
    for given in ((body,), (body, str(len(body)))):
        assert [image_bytes(query) for query in parse_v2(*given).queries] == [b"photo", LARGE]


@pytest.mark.parametrize(
    ("at", "wrong"), [(70_000, b"!"), (262_143, b"="), (300_000, b"\\"), (300_000, "é".encode()), (300_000, b"\0")]
)
def test_base64_of_a_large_photo_must_be_whole(at, wrong):
    text = base64.b64encode(LARGE)
    [query] = parse_v1(b'{"instances": [{"image": {"b64": "%b"}}]}' % (text[:at] + wrong + text[at + len(wrong) :]))
    with pytest.raises(InvalidInput, match=r"^instances\[0\]\.image\.b64 is not valid base64: "):
        image_bytes(query)


def test_what_is_no_photo_must_be_short():
    long = "x" * 70_000
    for body, sentence in (
        (v2(id=long), "id must be at most 65536 bytes"),
        (v2({"datatype": long}), "got a text of more than 65536 bytes"),
        (v2(parameters={long: 1}), "parameters.a text of more than 65536 bytes is not a parameter"),
        (
            v2(parameters={"note": [0] * 700_000}),
            "the JSON must be at most 2097152 bytes without its base64 texts, got 2",
        ),
    ):
        with pytest.raises(InvalidInput, match=sentence):
            parse_v2(body)


def test_class_names_become_ids_and_unknown_ones_are_named():
    [query] = parse_v1(v1(classes=["carrot", "apple"]))
    assert class_numbers(query, NAMES).tolist() == [2, 0]
    [query] = parse_v1(v1(classes=["pizza"]))
    known = "unknown class 'pizza'; this model knows apple, banana, carrot$"
    with pytest.raises(InvalidInput, match=rf"^instances\[0\]\.classes: {known}"):
        class_numbers(query, NAMES)
    [query] = parse_v2(v2(parameters={"classes": "pizza"})).queries
    with pytest.raises(InvalidInput, match=rf"^parameters\.classes: {known}"):
        class_numbers(query, NAMES)


@pytest.mark.parametrize("n", [0, 2])
def test_v1_response(n):
    [prediction] = v1_response([answer(n)])["predictions"]
    assert prediction["image"] == {"width": 640, "height": 480}
    assert [found["name"] for found in prediction["detections"]] == list(NAMES[:n])
    if n:
        assert prediction["detections"][0]["box"] == [0.12, 1.12, 2.12, 3.12]
        assert prediction["detections"][1] | {"box": []} == {
            "box": [],
            "class_id": 1,
            "name": "banana",
            "confidence": 0.9,
        }


@pytest.mark.parametrize("n", [0, 2])
def test_v2_response_in_json_and_binary_say_the_same(n):
    body, length = v2_response([answer(n)], parse_v2(v2(id="7")), "hakka")
    assert length is None
    document = json.loads(body)
    assert (document["id"], document["model_name"], document["model_version"]) == ("7", "hakka", "v1")
    assert document["parameters"] == {"prediction_id": "p1", "model_version": "v1", "width": 640, "height": 480}
    shapes = {output["name"]: (output["datatype"], output["shape"]) for output in document["outputs"]}
    assert shapes == {
        "boxes": ("FP32", [n, 4]),
        "scores": ("FP32", [n]),
        "class_ids": ("INT32", [n]),
        "labels": ("BYTES", [n]),
        "counts": ("INT32", [1]),
        "sizes": ("INT32", [1, 2]),
        "prediction_ids": ("BYTES", [1]),
    }

    raw, length = v2_response([answer(n)], parse_v2(v2(parameters={"binary_data_output": True})), "hakka")
    tail, tensors = raw[length:], {}
    for output in json.loads(raw[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        tensors[output["name"]], tail = tail[:size], tail[size:]
    assert tail == b""
    values = {output["name"]: output["data"] for output in document["outputs"]}
    np.testing.assert_allclose(np.frombuffer(tensors["boxes"], "<f4"), values["boxes"], atol=1e-4)
    assert np.frombuffer(tensors["class_ids"], "<i4").tolist() == values["class_ids"]
    assert tensors["labels"] == b"".join(struct.pack("<I", len(name)) + name.encode() for name in values["labels"])


def test_v2_response_to_several_photos_says_which_boxes_are_whose():
    request = parse_v2(v2({"shape": [3], "data": [B64] * 3}))
    document = json.loads(v2_response([answer(2), answer(0), answer(1)], request, "hakka")[0])
    outputs = {output["name"]: output for output in document["outputs"]}
    assert outputs["counts"] == {"name": "counts", "datatype": "INT32", "shape": [3], "data": [2, 0, 1]}
    assert outputs["sizes"]["shape"] == [3, 2]
    assert outputs["sizes"]["data"] == [640, 480] * 3
    assert outputs["prediction_ids"]["data"] == ["p1"] * 3
    assert outputs["boxes"]["shape"] == [3, 4]
    assert outputs["labels"]["data"] == ["apple", "banana", "apple"]
    assert document["parameters"] == {"model_version": "v1"}


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_v2, b'{"inputs": [{"name": "image", "datatype": ' + b"[" * 900 + b"]" * 900 + b"}]}"),
        (parse_v2, v2({"data": list(range(1_000_000))})),
        (parse_v2, v2({"name": "x" * 1_000_000})),
        (parse_v1, b'{"instances": [{' + b",".join(b'"%d":0' % number for number in range(100_000)) + b"}]}"),
        (parse_v1, b'{"instances": {' + b",".join(b'"%d":0' % number for number in range(100_000)) + b"}}"),
        (parse_v1, v1(confidence="x" * 1_000_000)),
    ],
)
def test_what_is_shown_of_a_wrong_value_stays_short(parse, body):
    with pytest.raises(InvalidInput) as error:
        parse(body)
    assert len(str(error.value)) < 300
