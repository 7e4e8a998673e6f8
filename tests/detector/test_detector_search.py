"""The search for settings, with real short trainings."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hakka.data.convert import convert
from hakka.data.sample import write_sample
from hakka.detector.search import SearchParams, check_plan, search
from hakka.detector.train import TrainParams
from hakka.errors import InvalidInput
from hakka.params import read_section

ROOT = Path(__file__).resolve().parents[2]
OWN = read_section(TrainParams, "train", imgsz=64, batch=8, device="cpu", weights="starter")
SPACE = {"learning_rate": {"low": 0.0003, "high": 0.01, "log": True}, "fliplr": {"choices": [0.0, 0.5]}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """``photos`` and ``dataset`` of a few scenes."""
    folder = tmp_path_factory.mktemp("search")
    write_sample(folder / "photos", images=12, size=64)
    convert(folder / "photos", folder / "dataset")
    return folder


def settings_tried(said):
    return dict(re.findall(r"^trial (\d+)/\d+: (learning_rate=.*)$", said, re.MULTILINE))


def test_a_killed_search_goes_on_and_a_finished_one_is_reused(data, tmp_path, monkeypatch, capfd):
    script = (
        "import sys; from pathlib import Path\n"
        "from hakka.detector.search import SearchParams, search\n"
        "from hakka.detector.train import TrainParams\n"
        f"search(Path(sys.argv[1]), Path(sys.argv[2]), {OWN!r}, SearchParams(trials=2, epochs=1, space={SPACE}))\n"
    )
    environ = {**os.environ, "HAKKA_HOME": str(tmp_path / "home")}
    folders = (data / "dataset", data / "photos")
    killed = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, folders)], stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT
    )
    said = ""
    for line in killed.stdout:
        said += line
        if line.startswith("trial 2/2: learning_rate"):
            killed.kill()
            break
    assert killed.wait() == -signal.SIGKILL

    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    params = SearchParams(trials=2, epochs=1, keep=2, space=SPACE)
    found = search(*folders, OWN, params)
    again = settings_tried(capfd.readouterr().out)
    assert again == {"2": settings_tried(said)["2"]}, "the first trial is not tried again, the second is the same again"
    assert sorted(entry["title"] for entry in found) == ["trial 1", "trial 2"]
    assert set(found[0]) == {"title", *SPACE}

    assert search(*folders, OWN, params) == found
    assert capfd.readouterr().out == ""


def test_a_trial_that_fails_is_skipped_with_its_reason(data, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    folders, space = (data / "dataset", data / "photos"), {"model": {"choices": ["yolo99n"]}}
    with pytest.raises(InvalidInput, match=r"search: each of 1 trials failed, the last: .*yolo99"):
        search(*folders, OWN, SearchParams(trials=1, epochs=1, space=space))
    assert re.search(r"^trial 1/1: skipped: .*yolo99", capfd.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"trials": -1}, "search.trials must be 0 or more, got -1"),
        ({"keep": 101}, "search.keep must be at most 100, got 101"),
        ({"trials": 2}, "search.space must name a setting to search in, for 2 trials"),
        (
            {"space": {"epochs": {"low": 1, "high": 3}}},
            "search.space: 'epochs' is not searched; known are model, imgsz",
        ),
        ({"space": {"mosaic": {"low": 1}}}, r"search.space.mosaic must be \{low, high\}"),
        ({"space": {"mosaic": {"choices": []}}}, r"search.space.mosaic must be \{low, high\}"),
        ({"space": {"mosaic": {"low": 1, "high": 0}}}, "search.space.mosaic: low and high must be numbers, low below"),
        ({"space": {"mosaic": {"low": 0, "high": 1, "log": True}}}, "must be numbers above 0, low below high"),
    ],
)
def test_a_wrong_search_is_one_sentence(params, words):
    with pytest.raises(InvalidInput, match=words):
        SearchParams(**params)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            {"imgsz": {"low": 33, "high": 64}},
            "search.space.imgsz: 33 is not a value of it: train.imgsz must be a multiple",
        ),
        ({"mosaic": {"low": 0.0, "high": 2.0}}, "search.space.mosaic: 2.0 is not a value of it: train.mosaic must be"),
        ({"imgsz": {"choices": ["large"]}}, "search.space.imgsz: 'large' is not a value of it"),
    ],
)
def test_a_space_with_a_value_that_no_training_takes_is_refused(space, words):
    with pytest.raises(InvalidInput, match=words):
        SearchParams(space=space).check(OWN)


def test_what_counts_by_factors_is_tried_so_whole_numbers_too(data, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("hakka.detector.search.train", lambda *_: {"best_val_map50": 0.5})
    space = {"batch": {"low": 1, "high": 1024, "log": True}, "imgsz": {"low": 32, "high": 4096, "log": True}}
    search(data / "dataset", data / "photos", OWN, SearchParams(trials=10, epochs=1, space=space))
    tried = re.findall(r"batch=(\d+), imgsz=(\d+)", capfd.readouterr().out)
    batches, sizes = (sorted(map(int, column)) for column in zip(*tried, strict=True))
    assert len(tried) == 10
    assert all(size % 32 == 0 for size in sizes)
    assert (batches[4] < 256, sizes[4] < 1024) == (True, True), "half of them lie below the root of low times high"


def test_the_search_of_params_yaml_is_a_good_one_and_off():
    assert check_plan({}, [], None)[-1].trials == 0
    assert check_plan({}, [], 3)[-1].trials == 3
