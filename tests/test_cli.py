"""The command line as a person meets it: help, results, and what it says of bad input."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from hakka.data.sample import write_sample
from hakka.registry import promote
from tests.serving.tiny_model import build_model_folder, register_model

ROOT = Path(__file__).resolve().parents[1]
VERBS = [
    "sample",
    "convert",
    "validate",
    "data",
    "train",
    "export",
    "evaluate",
    "models",
    "promote",
    "rollback",
    "run",
    "compile",
    "submit",
    "schedule",
    "serve",
    "app",
    "up",
    "predict",
    "recommend",
    "monitor",
]


@pytest.fixture
def hakka(tmp_path):
    """Runs ``hakka`` in an empty folder with a home of its own and no endpoint."""

    def run(*arguments):
        environment = {
            **os.environ,
            "HAKKA_HOME": str(tmp_path / "home"),
            "HAKKA_ENDPOINT": "http://127.0.0.1:9",
            "PYTHONPATH": str(ROOT),
        }
        environment.pop("HAKKA_WEIGHTS", None)
        return subprocess.run(
            [sys.executable, "-m", "hakka", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )

    return run


@pytest.fixture
def champion(tmp_path):
    registry = tmp_path / "home" / "registry"
    version = register_model(build_model_folder(tmp_path / "model"), registry)
    promote(registry, version)
    return version


def test_help_lists_every_verb(hakka):
    done = hakka("--help")
    assert done.returncode == 0
    assert all(f"    {verb} " in done.stdout or f"    {verb}\n" in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(hakka, verb):
    done = hakka(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "example: " in done.stdout
    assert f"hakka {verb}" in done.stdout


def test_convert_and_validate_for_people_and_for_programs(hakka, tmp_path):
    write_sample(tmp_path / "photos", images=16, size=96)
    done = hakka("convert", "photos", "--out", "dataset")
    assert done.returncode == 0, done.stderr
    assert "images  20 found, 17 converted, 3 refused" in done.stdout
    report = json.loads(hakka("convert", "photos", "--out", "dataset", "--json").stdout)
    assert report["images"] == {"found": 20, "converted": 17, "refused": 3}
    boxes = report["boxes"]
    assert boxes["found"] == boxes["converted"] + boxes["refused"]
    checked = hakka("validate", "dataset", "--data", "photos", "--out", "validation", "--json")
    answer = json.loads(checked.stdout)
    assert checked.returncode == (0 if answer["passed"] else 1)
    assert {check["severity"] for check in answer["checks"]} <= {"error", "warning"}
    assert (tmp_path / "validation" / "report.html").is_file()
    assert (tmp_path / "validation" / "junit.xml").is_file()


def test_a_failed_check_is_exit_1(hakka, tmp_path):
    write_sample(tmp_path / "photos", images=16, size=96, faulty=False)
    assert hakka("convert", "photos", "--out", "dataset").returncode == 0
    label = next(path for path in (tmp_path / "dataset" / "labels").rglob("*.txt") if path.read_text())
    label.write_text("99 0.5 0.5 2.0 0.1\n")
    done = hakka("validate", "dataset", "--data", "photos", "--out", "validation")
    assert done.returncode == 1
    assert "failed" in done.stdout


def test_models_for_programs(hakka, champion):
    answer = json.loads(hakka("models", "--json").stdout)
    assert answer["champion"] == champion
    assert answer["metrics"]["map50"] == 0.9
    assert {"map50", "map50_95", "per_class"} <= set(answer["metrics"])
    assert [record["version"] for record in answer["versions"]] == [champion]
    empty = json.loads(hakka("models", "--json").stdout)
    assert empty["canary"] is None


def test_promote_and_rollback(hakka, champion, tmp_path):
    other = register_model(
        build_model_folder(tmp_path / "other", found=((4, 4, 20, 20, 0.8, 2),)), tmp_path / "home" / "registry"
    )
    assert hakka("promote", other).stdout == f"champion: {other}\n"
    assert hakka("rollback").stdout == f"champion: {champion}\n"
    assert hakka("rollback").returncode == 2


def test_predict_in_process_draws_what_it_found(hakka, champion, tmp_path):
    Image.new("RGB", (200, 100), "white").save(tmp_path / "photo.jpg")
    done = hakka("predict", "photo.jpg")
    assert done.returncode == 0, done.stderr
    assert "in process" in done.stdout
    assert "apple" in done.stdout
    with Image.open(tmp_path / "photo-found.jpg") as picture:
        assert picture.size == (200, 100)
        assert len(picture.getcolors(100_000)) > 3, "nothing was drawn"
    answer = json.loads(hakka("predict", "photo.jpg", "--confidence", "0.7", "--json").stdout)
    assert [item["name"] for item in answer["detections"]] == ["apple"]
    assert answer["model_version"] == champion


def test_predict_through_the_endpoint_when_it_is_up(hakka, champion, tmp_path):
    from tests.serving.server import running_server

    Image.new("RGB", (200, 100), "white").save(tmp_path / "photo.jpg")
    with running_server("--registry", tmp_path / "home" / "registry", "--no-log") as server:
        there = json.loads(hakka("predict", "photo.jpg", "--endpoint", server.url, "--json").stdout)
    here = json.loads(hakka("predict", "photo.jpg", "--json").stdout)
    assert there["by"] == server.url
    assert [d["name"] for d in there["detections"]] == [d["name"] for d in here["detections"]]
    assert there["detections"][0]["box"] == pytest.approx(here["detections"][0]["box"], abs=0.01)


def test_recommend(hakka):
    done = hakka("recommend", "tomato", "onion", "garlic", "--diet", "vegan", "--json")
    answer = json.loads(done.stdout)
    assert answer["recipes"]
    assert answer["recipes"][0]["score"] >= answer["recipes"][-1]["score"]
    assert json.loads(hakka("recommend", "unobtainium", "--json").stdout) == {"recipes": [], "unknown": ["unobtainium"]}


def test_monitor_says_too_few_rows(hakka, tmp_path):
    from hakka.monitor.rows import row, write_rows

    features = {"width": 10, "height": 10, "brightness": 100.0, "blur": 50.0}
    rows = [row(version="a" * 12, features=features, boxes=[], classes=[], confidences=[]) for _ in range(5)]
    write_rows(tmp_path / "reference.parquet", rows)
    (tmp_path / "log").mkdir()
    done = hakka("monitor", "--reference", "reference.parquet", "--log", "log")
    assert done.returncode == 0, done.stderr
    assert "too few rows" in done.stdout


def _empty(folder):
    (folder / "empty").mkdir()


def _no_json(folder):
    (folder / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(folder / "photos" / "a.jpg")


def _other_json(folder):
    _no_json(folder)
    (folder / "photos" / "a.json").write_text('{"hello": "world"}')


def _broken_json(folder):
    _no_json(folder)
    (folder / "photos" / "a.json").write_text('{"images": [')


def _a_file(folder):
    (folder / "photo.jpg").write_text("this is not a photo")


def _nothing(folder):
    pass


@pytest.mark.parametrize(
    ("arguments", "prepare"),
    [
        (("convert", "nowhere", "--out", "d"), _nothing),
        (("convert", "empty", "--out", "d"), _empty),
        (("convert", "photos", "--out", "d"), _no_json),
        (("convert", "photos", "--out", "d"), _other_json),
        (("convert", "photos", "--out", "d"), _broken_json),
        (("convert", "photo.jpg", "--out", "d"), _a_file),
        (("convert", "photos", "--out", "d", "--format", "excel"), _no_json),
        (("run", "--data", "nowhere"), _nothing),
        (("run", "--data", "empty"), _empty),
        (("run", "--data", "photos"), _no_json),
        (("run", "--data", "photos"), _other_json),
        (("run", "--data", "photos"), _broken_json),
        (("validate", "nowhere", "--data", "."), _nothing),
        (("train", "nowhere", "--data", ".", "--out", "t"), _nothing),
        (("export", "nowhere", "nowhere", "--data", ".", "--out", "m"), _nothing),
        (("evaluate", "nowhere", "nowhere", "--data", ".", "--out", "e"), _nothing),
        (("evaluate", "champion", "nowhere", "--data", ".", "--out", "e"), _nothing),
        (("promote", "latest"), _nothing),
        (("promote", "0123456789ab"), _nothing),
        (("rollback",), _nothing),
        (("predict", "nowhere.jpg"), _nothing),
        (("predict", "photo.jpg"), _a_file),
        (("predict", "photo.jpg", "--confidence", "7"), _a_file),
        (("recommend", "tomato", "--diet", "moon"), _nothing),
        (("recommend", "tomato=many"), _nothing),
        (("monitor",), _nothing),
        (("serve",), _nothing),
        (("submit", "--host", "http://127.0.0.1:9"), _nothing),
        (("sample", "--out", "s", "--images", "2"), _nothing),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value.__name__.strip("_"),
)
def test_bad_input_is_one_sentence_and_exit_2(hakka, tmp_path, arguments, prepare):
    prepare(tmp_path)
    before = {path for path in tmp_path.rglob("*") if "home" not in path.parts}
    done = hakka(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    progress = re.compile(r"[a-z ]+: (started|done in .*|failed after .*)")
    sentences = [line for line in done.stderr.splitlines() if not progress.fullmatch(line)]
    assert len(sentences) == 1, done.stderr
    assert {path for path in tmp_path.rglob("*") if "home" not in path.parts} == before, (
        "something half-written is left"
    )


@pytest.mark.parametrize("value", ["http", "0", "70000", "-1"])
def test_a_bad_port_is_named(value):
    environment = {**os.environ, "HAKKA_PORT": value}
    done = subprocess.run(
        [sys.executable, "-m", "hakka", "models"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: HAKKA_PORT")
