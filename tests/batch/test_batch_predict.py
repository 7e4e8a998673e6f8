"""``hakka predict`` on many photos: every photo a row, whatever it holds, and a killed run that goes on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.object_store import make_bucket, running_store, store_environment
from tests.serving.tiny_model import build_model_folder

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = 100  # six parts
GOOD = ["a.jpg", "b.png", "inner/c.webp", "inner/d.JPG"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_model_folder(tmp_path_factory.mktemp("batch") / "model")


@pytest.fixture
def start(tmp_path, model):
    """Starts ``hakka predict`` in an empty folder."""

    def run(*arguments, program=("-m", "hakka")):
        command = [sys.executable, *program, "predict", *map(str, arguments), "--model", str(model)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HAKKA_HOME": str(tmp_path / "home")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)

    return run


@pytest.fixture
def predict(start):
    """Runs it to its end: exit code, stdout and stderr."""

    def run(*arguments):
        process = start(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run


def write_photos(folder):
    for name in GOOD:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[path.suffix.lower()]
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "a.jpg" else 1
        Image.new("RGB", (128, 64), (200, 60, 40)).save(path, kind, exif=exif)
    return folder


def write_hostile(folder):
    """Photos that are none, by what their rows must say."""
    whole = (folder / "a.jpg").read_bytes()
    (folder / "x-empty.jpg").write_bytes(b"")
    (folder / "x-torn.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "x-text.png").write_text("no photo")
    Image.new("RGB", (9, 9)).save(folder / "x-bitmap.bmp")
    Image.new("1", (9000, 9000)).save(folder / "x-bomb.png")
    os.mkfifo(folder / "x-pipe.jpg")
    (folder / "x-link.jpg").symlink_to("nowhere")
    (folder / ".hidden.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no photo either")
    return {
        "x-bitmap.bmp": "none of these",
        "x-bomb.png": "9000x9000",
        "x-empty.jpg": "0 bytes",
        "x-link.jpg": "No such file",
        "x-pipe.jpg": "regular file",
        "x-text.png": "none of these",
        "x-torn.jpg": "must be a whole JPEG",
    }


def test_every_photo_of_a_folder_is_a_row_also_those_that_are_none(predict, tmp_path):
    says = write_hostile(write_photos(tmp_path / "photos"))
    code, out, err = predict("photos", "--out", "found.parquet")
    assert (code, err) == (1, "")
    assert "7 could not be read" in out
    rows = {row["image"]: row for row in pq.read_table(tmp_path / "found.parquet").to_pylist()}
    assert list(rows) == sorted([*GOOD, *says])
    for name in GOOD:
        row = rows[name]
        assert (row["width"], row["height"]) == ((64, 128) if name == "a.jpg" else (128, 64))
        assert (row["classes"], row["class_ids"], row["error"]) == (["apple", "banana"], [0, 1], None)
        assert row["confidences"] == pytest.approx([0.9, 0.6])
        assert (row["size"], len(row["sha256"])) == ((tmp_path / "photos" / name).stat().st_size, 64)
    for name, part in says.items():
        assert part in rows[name]["error"]
        assert rows[name]["boxes"] is None
    assert not (tmp_path / "found.parquet.parts").exists()


def test_coco_is_what_coco_tools_read(predict, tmp_path):
    write_photos(tmp_path / "photos")
    (tmp_path / "photos" / "x.jpg").write_bytes(b"")
    assert predict("photos", "--out", "found.parquet")[0] == 1
    code, out, _ = predict("photos", "--out", "found.json", "--json")
    assert code == 1
    answer = json.loads(out)
    assert (answer["photos"], answer["failed"], answer["detections"]) == (5, 1, 8)
    with contextlib.redirect_stdout(None):
        coco = COCO(str(tmp_path / "found.json"))
        again = coco.loadRes(coco.dataset["annotations"])
    assert [image["file_name"] for image in coco.dataset["images"]] == sorted(GOOD)
    assert [category["name"] for category in coco.dataset["categories"]] == ["apple", "banana", "carrot"]
    assert len(again.anns) == 8
    table = pq.read_table(tmp_path / "found.parquet").to_pylist()
    left, top, right, bottom = table[1]["boxes"][0]
    first = coco.loadAnns(coco.getAnnIds(imgIds=[2]))[0]
    assert first["bbox"] == pytest.approx([left, top, right - left, bottom - top], abs=0.01)
    assert first["score"] == pytest.approx(0.9)
    assert [item["file_name"] for item in coco.dataset["unreadable"]] == ["x.jpg"]


def test_globs_several_files_and_a_single_photo_as_a_table(predict, tmp_path):
    write_photos(tmp_path / "photos")

    def images(*arguments):
        code, _, err = predict(*arguments, "--out", "found.parquet", "--confidence", "0.7")
        assert code == 0, err
        rows = pq.read_table(tmp_path / "found.parquet").to_pylist()
        assert all(row["classes"] == ["apple"] for row in rows)
        return [row["image"] for row in rows]

    assert images("photos/*.jpg") == ["photos/a.jpg"]
    assert images("photos/**/*.[wp]*") == ["photos/b.png", "photos/inner/c.webp"]
    assert images("photos/b.png", "photos/a.jpg", "photos") == [f"photos/{name}" for name in GOOD]
    assert images("photos/a.jpg") == ["photos/a.jpg"]


def write_many(folder, count):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.jpg")
    (folder / "0007.jpg").write_bytes(b"broken")


ENDED = """
import os, signal, sys
from hakka.__main__ import start
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, these tests too, may ignore it
number, parts, replace = int(sys.argv[1]), int(sys.argv[2]), os.replace
def end_in_mid_part(source, target):
    global parts
    if "part-" in str(target):
        parts -= 1
        if parts < 0:
            os.kill(os.getpid(), number)
    replace(source, target)
os.replace = end_in_mid_part
del sys.argv[1:3]
sys.exit(start())
"""


def test_a_run_that_is_ended_goes_on_and_gives_the_same_bytes(start, predict, tmp_path):
    """The signals come when two more parts are whole, and the next one is written but has no name yet."""
    write_many(tmp_path / "photos", PHOTOS)
    parts = tmp_path / "found.parquet.parts"
    for number, code, kept in ((signal.SIGKILL, -9, 2), (signal.SIGINT, 130, 4)):
        process = start("photos", "--out", "found.parquet", program=("-c", ENDED, str(int(number)), "2"))
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert len(list(parts.glob("part-*"))) == kept
        assert not (tmp_path / "found.parquet").exists()
    assert "the same command goes on" in err
    code, out, _ = predict("photos", "--out", "found.parquet", "--json")
    assert code == 1
    assert 0 < json.loads(out)["kept"] < PHOTOS
    assert not parts.exists()
    assert predict("photos", "--out", "whole.parquet")[0] == 1
    assert (tmp_path / "found.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert pq.read_table(tmp_path / "whole.parquet").num_rows == PHOTOS


def test_what_changed_is_looked_at_again(tmp_path, model):
    from hakka.batch import find_photos
    from hakka.batch.parts import Parts, cut

    write_many(tmp_path / "photos", 100)

    def paths(version="v"):
        parts = Parts(tmp_path, {"version": version})
        return [parts.path(part) for part in cut(find_photos([str(tmp_path / "photos")]))]

    before = paths()
    assert len(before) > 2
    assert paths() == before
    assert not set(paths("w")) & set(before)
    os.utime(tmp_path / "photos" / "0000.jpg", (1, 1))
    assert paths()[1:] == before[1:]
    assert paths()[0] != before[0]
    (tmp_path / "photos" / "0000.jpg").unlink()
    assert set(paths()[1:]) <= set(before)


def test_photos_of_an_object_store(predict, tmp_path, monkeypatch):
    write_photos(tmp_path / "photos")
    with running_store() as endpoint:
        for name, value in store_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        make_bucket("photos")
        import fsspec

        files, _ = fsspec.url_to_fs("s3://photos")
        files.put(str(tmp_path / "photos"), "photos/set", recursive=True)
        assert predict("s3://photos/set", "--out", "there.parquet")[0] == 0
        assert predict("s3://photos/set/*.jpg", "--out", "glob.parquet")[0] == 0
    assert predict("photos", "--out", "here.parquet")[0] == 0
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert pq.read_table(tmp_path / "glob.parquet")["image"].to_pylist() == ["s3://photos/set/a.jpg"]
    code, _, err = predict("s3://photos/set", "--out", "away.parquet")
    assert code == 2
    assert "cannot be reached" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("photos",), "--out must name a file"),
        (("photos", "--out", "found.csv"), "must end in .parquet or .json"),
        (("photos", "--out", "nowhere/found.json"), "folder that exists"),
        (("photos", "--out", "own.json"), "will not replace"),
        (("empty", "--out", "found.json"), "no photo here"),
        (("no*.jpg", "--out", "found.json"), "no photo here"),
        (("photos/a.jpg", "nowhere.jpg", "--out", "found.json"), "nowhere.jpg: no such photo"),
        (("photos", "--out", "found.json", "--endpoint", "http://127.0.0.1:9"), "--endpoint"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, capsys, model, monkeypatch, arguments, says):
    from hakka.cli import main

    write_photos(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    (tmp_path / "own.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    given = [] if "--endpoint" in arguments else ["--model", str(model)]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        assert main(["predict", *arguments, *given]) == 2
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
