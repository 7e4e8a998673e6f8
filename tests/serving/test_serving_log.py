"""What a server keeps: its log's place and age, and the share of photos that is stored."""

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from hakka.errors import InvalidInput
from hakka.monitor import read_log
from hakka.monitor.pictures import PICTURE_SIDE, WAITING, Pictures, encode_picture
from hakka.monitor.storage import open_storage
from hakka.settings import read_settings
from serving.options import read_options
from tests.object_store import make_bucket, running_store, store_environment
from tests.serving.conftest import encode_photo
from tests.serving.server import running_server

PREDICT = "/v1/models/hakka:predict"


def b64(photo: bytes) -> dict:
    return {"image": {"b64": base64.b64encode(photo).decode()}}


def photo_with_gps() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "SECRETMAKER"
    exif[0x0112] = 6  # turned: the stored picture must be upright without saying so
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    exif.get_ifd(0x8825)[29] = "SECRETDATE"
    return encode_photo(96, 64, exif=exif, comment=b"SECRETCOMMENT", xmp=b"<x>SECRETXMP</x>")


def test_kept_photos_hold_pixels_and_nothing_else(tmp_path, model_dir):
    photo = photo_with_gps()
    assert photo.count(b"SECRET") >= 4
    with running_server("--model-dir", model_dir, "--log", tmp_path, "--keep-images", "1") as server:
        answers = []
        for instances in ([b64(photo)], [b64(photo), b64(encode_photo(1500, 300, "PNG"))]):
            answers += httpx.post(server.url + PREDICT, json={"instances": instances}).json()["predictions"]
        assert server.stop() == 0
    rows = read_log(tmp_path)
    assert set(rows["prediction_id"]) == {answer["prediction_id"] for answer in answers}
    assert rows["red"].between(0, 255).all()
    stored = {path.stem: path for path in tmp_path.glob("images/*/*.jpg")}
    assert set(stored) == set(rows["prediction_id"])
    for path in stored.values():
        content = path.read_bytes()
        assert b"SECRET" not in content
        assert b"Exif" not in content
        with Image.open(io.BytesIO(content)) as picture:
            assert not picture.getexif()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert picture.size == (64, 96) or picture.width > picture.height


def test_a_kept_photo_has_a_largest_size():
    with Image.open(io.BytesIO(encode_picture(np.zeros((600, 3000, 3), np.uint8)))) as picture:
        assert picture.size == (PICTURE_SIDE, 256)


def test_no_photo_is_kept_unless_asked(tmp_path, model_dir, photo):
    with running_server("--model-dir", model_dir, "--log", tmp_path) as server:
        httpx.post(server.url + PREDICT, json={"instances": [b64(photo)]}).raise_for_status()
        assert server.stop() == 0
    assert len(read_log(tmp_path)) == 1
    assert not (tmp_path / "images").exists()


def test_a_server_logs_to_an_object_store(tmp_path, model_dir, photo, monkeypatch):
    with running_store() as endpoint:
        for name, value in store_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        make_bucket("logs")
        url = "s3://logs/hakka"
        with running_server("--model-dir", model_dir, "--log", url, "--keep-images", "1") as server:
            answer = httpx.post(server.url + PREDICT, json={"instances": [b64(photo)]}).json()["predictions"][0]
            assert server.stop() == 0
        assert list(read_log(url)["prediction_id"]) == [answer["prediction_id"]]
        images = open_storage(url, "images")
        assert images.files(images.days()[0]) == [f"{answer['prediction_id']}.jpg"]


def test_a_share_is_kept_and_the_rest_is_not(tmp_path):
    pictures = Pictures(open_storage(tmp_path), 0.25)
    ids = [f"{number << 22:08x}" + "0" * 24 for number in range(1024)]
    assert sum(map(pictures.chooses, ids)) == 256
    with pytest.raises(InvalidInput, match=r"got 1\.5"):
        Pictures(open_storage(tmp_path), 1.5)
    pictures.close(10)


def test_a_place_that_refuses_pictures_costs_only_the_pictures(tmp_path):
    (tmp_path / "file").write_text("no folder")
    pictures = Pictures(open_storage(tmp_path / "file"), 1.0)
    picture = encode_picture(np.zeros((8, 8, 3), np.uint8))
    for number in range(5 * WAITING):
        pictures.offer(f"{number:08x}", picture)
    pictures.close(10)
    pictures.offer("00000000", picture)
    assert (pictures.written, pictures.dropped) == (0, 5 * WAITING + 1)


@pytest.mark.parametrize(
    "arguments",
    [("--log-days", "-1"), ("--log-days", "many"), ("--keep-images", "1.5"), ("--keep-images", "nan")],
)
def test_wrong_options_of_the_log_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        read_options(arguments, read_settings({}))
    assert ended.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_places_may_be_urls():
    options = read_options(["--log", "s3://bucket/log"], read_settings({"HAKKA_REGISTRY": "s3://bucket/registry"}))
    assert (options.log, options.registry) == ("s3://bucket/log", "s3://bucket/registry")
