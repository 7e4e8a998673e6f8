"""The real process over HTTP and gRPC."""

import asyncio
import base64
import json
import socket
from pathlib import Path

import httpx
import pytest

from tests.serving.conftest import encode_photo
from tests.serving.tiny_model import NAMES

PREDICT = "/v1/models/hakka:predict"
INFER = "/v2/models/hakka/infer"


def v2_body(b64, **extra):
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64]}], **extra}


def test_ready_line_is_all_that_is_printed(server, client):
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v1/models/hakka").json() == {"name": "hakka", "ready": True}
    assert len(server.lines) == 1


def test_v1_predict(client, photo_b64):
    body = {"instances": [{"image": {"b64": photo_b64}}, {"image": {"b64": photo_b64}, "confidence": 0.7}]}
    both, sure = client.post(PREDICT, json=body).json()["predictions"]
    assert both["detections"] == [
        {"box": [16.0, 16.0, 48.0, 48.0], "class_id": 0, "name": "apple", "confidence": 0.9},
        {"box": [64.0, 32.0, 120.0, 96.0], "class_id": 1, "name": "banana", "confidence": 0.6},
    ]
    assert both["image"] == {"width": 128, "height": 128}
    assert [found["name"] for found in sure["detections"]] == ["apple"]
    assert both["prediction_id"] != sure["prediction_id"]


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, ["apple", "banana"]),
        ({"classes": ["banana"]}, ["banana"]),
        ({"classes": "banana,carrot"}, ["banana"]),
        ({"classes": ["carrot"]}, []),
        ({"max_detections": 1}, ["apple"]),
        ({"confidence": 1}, []),
    ],
)
def test_parameters_work_in_both_protocols(client, photo_b64, parameters, names):
    v1 = client.post(PREDICT, json={"instances": [{"image": {"b64": photo_b64}, **parameters}]}).json()
    v2 = client.post(INFER, json=v2_body(photo_b64, parameters=parameters)).json()
    assert [found["name"] for found in v1["predictions"][0]["detections"]] == names
    assert next(output["data"] for output in v2["outputs"] if output["name"] == "labels") == names


def test_v2_infer_echoes_the_id_or_makes_one(client, photo_b64):
    assert client.post(INFER, json=v2_body(photo_b64, id="my-id")).json()["id"] == "my-id"
    assert client.post(INFER, json=v2_body(photo_b64)).json()["id"]


def test_body_is_read_whatever_its_content_type_says(client, photo_b64):
    # `curl -d` says x-www-form-urlencoded, other clients add a charset
    for kind in ("application/x-www-form-urlencoded", "application/json; charset=utf-8", None):
        headers = {"content-type": kind} if kind else {}
        answer = client.post(INFER, content=json.dumps(v2_body(photo_b64)), headers=headers)
        assert answer.status_code == 200


def test_exif_orientation_is_applied(client):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # stored 128 × 64, to be seen turned by 90°
    b64 = base64.b64encode(encode_photo(128, 64, exif=exif)).decode()
    prediction = client.post(PREDICT, json={"instances": [{"image": {"b64": b64}}]}).json()["predictions"][0]
    assert prediction["image"] == {"width": 64, "height": 128}
    # The 64 px input holds the upright photo 32 px wide with 16 px beside it: the first box ends at 24 → (24 − 16) · 2
    assert prediction["detections"][0]["box"] == [0.0, 16.0, 16.0, 48.0]
    assert prediction["detections"][1]["box"][2] <= 64


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_image_formats(client, kind):
    b64 = base64.b64encode(encode_photo(kind=kind)).decode()
    assert client.post(INFER, json=v2_body(b64)).status_code == 200


def test_metadata_says_what_is_served(client, model_dir):
    info = json.loads((model_dir / "model.json").read_text())
    metadata = client.get("/v2/models/hakka").json()
    assert metadata["versions"] == [info["version"]]
    assert metadata["inputs"] == [
        {"name": "image", "datatype": "BYTES", "shape": [-1]},
        {"name": "image", "datatype": "UINT8", "shape": [-1, -1, 3]},
    ]
    assert [output["name"] for output in metadata["outputs"]][:4] == ["boxes", "scores", "class_ids", "labels"]
    assert metadata["parameters"]["classes"] == list(NAMES)
    for key in ("thresholds", "data", "code", "version"):
        assert metadata["parameters"][key] == info[key]
    assert metadata["parameters"]["inference_precision"] in ("f32", "bf16")


def test_metrics_count_requests(client, photo_b64):
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        return next(
            (float(s.split()[1]) for s in lines if s.startswith('request_predict_seconds_count{model_name="hakka"}')), 0
        )

    before = count()
    client.post(INFER, json=v2_body(photo_b64))
    assert count() == before + 1


BAD_PHOTOS = {
    "empty": b"",
    "text": b"this is no image",
    "truncated": encode_photo(256, 256)[:600],
    "gif": encode_photo(kind="GIF"),
    "tiff": encode_photo(kind="TIFF"),
}


@pytest.mark.parametrize("name", BAD_PHOTOS)
def test_what_is_no_whole_photo_is_400_in_both_protocols(client, photo_b64, name):
    b64 = base64.b64encode(BAD_PHOTOS[name]).decode()
    for path, body in ((PREDICT, {"instances": [{"image": {"b64": b64}}]}), (INFER, v2_body(b64))):
        answer = client.post(path, json=body)
        assert answer.status_code == 400
        assert list(answer.json()) == ["error"]
        assert "image" in answer.json()["error"]
        assert "\n" not in answer.json()["error"]
    assert client.post(INFER, json=v2_body(photo_b64)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "part"),
    [
        ("POST", PREDICT, b"{", 400, "the body is not valid JSON"),
        (
            "POST",
            PREDICT,
            b'{"instances": [{"image": {"b64": "*"}}]}',
            400,
            "instances[0].image.b64 is not valid base64",
        ),
        ("POST", INFER, b"", 400, "the body is not valid JSON"),
        ("POST", INFER, b'{"inputs": [{"name": "image", "datatype": "FP32"}]}', 400, "datatype must be BYTES"),
        ("POST", "/v2/models/other/infer", b"{}", 404, "other"),
        ("POST", "/v1/models/other:predict", b"{}", 404, "other"),
        ("GET", "/v2/models/other", None, 404, "other"),
        ("GET", "/v2/models/other/ready", None, 404, "other"),
        ("GET", "/v2/models/hakka/versions/zz", None, 404, "version zz of hakka is not served here"),
        ("GET", "/v2/models/hakka/versions/zz/ready", None, 404, "version zz of hakka is not served here"),
        ("POST", "/v2/models/hakka/versions/zz/infer", b"{}", 404, "version zz of hakka is not served here"),
        ("GET", INFER, None, 405, "GET is not one of POST"),
        ("POST", "/v2/models/hakka", b"{}", 405, "POST is not one of"),
        ("PUT", "/v2/health/live", b"{}", 405, "PUT is not one of"),
        ("POST", "/v1/models/hakka:explain", b"{}", 404, "Not Found"),
        ("POST", "/openai/v1/completions", b"{}", 404, "Not Found"),
        ("GET", "/nowhere", None, 404, "Not Found"),
        ("POST", "/v2/repository/models/hakka/unload", None, 400, "channel"),
        ("POST", "/v2/repository/models/hakka/load", None, 400, "channel"),
        ("POST", INFER, b"x" * (2 * 1024 * 1024 + 1), 413, "at most 2097152 bytes"),
    ],
)
def test_refusals_are_one_sentence_and_the_server_goes_on(client, photo_b64, method, path, body, status, part):
    answer = client.request(method, path, content=body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert part in answer.json()["error"]
    assert client.post(INFER, json=v2_body(photo_b64)).status_code == 200


def test_v1_parameters_of_the_request_are_those_of_every_photo(client, photo_b64):
    instance = {"image": {"b64": photo_b64}}
    body = {"instances": [instance, instance | {"confidence": 0.1}], "parameters": {"confidence": 0.7}}
    first, second = client.post(PREDICT, json=body).json()["predictions"]
    assert [found["name"] for found in first["detections"]] == ["apple"]
    assert [found["name"] for found in second["detections"]] == ["apple", "banana"]


def test_unknown_class_names_its_place_and_the_known_ones(client, photo_b64):
    known = "unknown class 'pizza'; this model knows apple, banana, carrot"
    answer = client.post(INFER, json=v2_body(photo_b64, parameters={"classes": ["pizza"]}))
    assert (answer.status_code, answer.json()) == (400, {"error": f"parameters.classes: {known}"})
    instance = {"image": {"b64": photo_b64}}
    answer = client.post(PREDICT, json={"instances": [instance, instance | {"classes": ["pizza"]}]})
    assert (answer.status_code, answer.json()) == (400, {"error": f"instances[1].classes: {known}"})


def test_a_version_that_is_named_is_the_one_that_answers(client, photo_b64):
    version = client.get("/v2/models/hakka").json()["versions"][0]
    path = f"/v2/models/hakka/versions/{version}"
    assert client.get(path).json() == client.get("/v2/models/hakka").json()
    assert client.get(f"{path}/ready").json() == {"name": "hakka", "ready": True}
    assert client.post(f"{path}/infer", json=v2_body(photo_b64)).json()["model_version"] == version


def test_server_metadata_and_lists(client):
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/models").json() == client.get("/v1/models").json() == {"models": ["hakka"]}
    assert client.get("/").json() == {"status": "alive"}


def test_pixels_and_files_find_the_same(client, photo_b64):
    pixels = {"name": "image", "datatype": "UINT8", "shape": [128, 128, 3], "data": [200, 60, 40] * 128 * 128}
    answers = [client.post(INFER, json=body).json() for body in ({"inputs": [pixels]}, v2_body(photo_b64))]
    found = [{output["name"]: output["data"] for output in answer["outputs"]} for answer in answers]
    assert found[0].pop("prediction_ids") != found[1].pop("prediction_ids")
    assert found[0] == found[1]
    assert (answers[0]["parameters"]["width"], answers[0]["parameters"]["height"]) == (128, 128)


# Of a side that does not divide, a reduced photo is off by at most one of its own pixels, 16 of the original.
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("width", "height", "exact"), [(1600, 800, 0.01), (1601, 801, 16)])
def test_boxes_of_a_large_photo_are_in_its_own_pixels(client, kind, width, height, exact):
    b64 = base64.b64encode(encode_photo(width, height, kind)).decode()
    prediction = client.post(PREDICT, json={"instances": [{"image": {"b64": b64}}]}).json()["predictions"][0]
    assert prediction["image"] == {"width": width, "height": height}
    # In the 64 px input the photo is 32 px high, from 16 to 48: the second box spans 32…60 by 16…48 there.
    box = prediction["detections"][1]["box"]
    assert box == pytest.approx([32 * 25, 0, 60 * 25, height], abs=exact)
    assert box[3] <= height


def test_a_body_without_a_declared_length_is_cut_at_the_limit(client, photo_b64):
    sent = 0

    def endless():
        nonlocal sent
        for _ in range(1000):
            sent += 65536
            yield b"x" * 65536

    answer = client.post(INFER, content=endless())
    assert answer.status_code == 413
    assert client.post(INFER, json=v2_body(photo_b64)).status_code == 200


def test_a_declared_gigabyte_is_refused_before_it_is_sent(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_leaves_in_mid_body_is_no_error(server, client):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc".encode())
    assert client.get("/v2/health/live").json() == {"live": True}


def test_bad_requests_left_no_traceback(server, client):
    client.post(INFER, content=b"{")
    client.get("/nowhere")
    assert not [line for line in server.lines if "Traceback" in line]


def test_it_listens_on_this_machine_only(server):
    port = int(server.url.rsplit(":", 1)[1])
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    hosts = {
        fields[1].split(":")[0]
        for fields in listening
        if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port
    }
    assert hosts == {"0100007F"}


def test_two_clients_at_once_get_their_own_answers(server, photo_b64):
    async def main():
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            return await asyncio.gather(*(client.post(INFER, json=v2_body(photo_b64, id=str(i))) for i in range(40)))

    answers = [answer.json() for answer in asyncio.run(main())]
    assert [answer["id"] for answer in answers] == [str(i) for i in range(40)]
    assert len({answer["parameters"]["prediction_id"] for answer in answers}) == 40
