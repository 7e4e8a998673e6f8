"""What decides whether a local run may reuse an earlier step, beside the step's own inputs."""

import json

import pytest
from filelock import FileLock

from hakka.errors import InvalidInput, NotFound
from hakka.settings import read_settings
from pipelines import local


@pytest.fixture
def settings(tmp_path):
    return read_settings({"HAKKA_HOME": str(tmp_path / "home")})


@pytest.fixture
def house(tmp_path, monkeypatch):
    for package in ("hakka", "components", "checks"):
        (tmp_path / "house" / package).mkdir(parents=True)
        (tmp_path / "house" / package / "code.py").write_text("a = 1\n")
    (tmp_path / "house" / "params.yaml").write_text("train: {}\ngate: {floor: 0.2}\n")
    monkeypatch.setattr(local, "ROOT", tmp_path / "house")
    monkeypatch.setattr(local, "PARAMS_FILE", tmp_path / "house" / "params.yaml")
    return tmp_path / "house"


@pytest.mark.parametrize(
    "changed", ["hakka/code.py", "components/code.py", "params.yaml", "hakka/new.yaml", "checks/test_own.py"]
)
def test_changed_code_and_parameters_make_every_step_new(house, settings, changed):
    before = local.digest_code(["auto"], settings)
    (house / changed).write_text("train: {epochs: 2}\n")
    assert local.digest_code(["auto"], settings) != before


def test_another_floor_of_the_gate_other_shards_and_a_search_cost_no_new_training(house, settings):
    before = local.digest_code(["auto"], settings)
    (house / "params.yaml").write_text("train: {}\ngate: {floor: 0.0}\nscan: {shards: 4}\nsearch: {trials: 4}\n")
    assert local.digest_code(["auto"], settings) == before


def test_a_killed_run_is_settled_and_a_running_one_left_alone(tmp_path):
    for name in ("killed", "running"):
        step = tmp_path / name / "pipeline" / "hakka" / "train-detector"
        step.mkdir(parents=True)
        (step / "half.part").write_text("half")
    (tmp_path / "killed" / local.LOCK).touch()
    with FileLock(tmp_path / "running" / local.LOCK):
        local.settle_killed_runs(tmp_path)
        assert not (tmp_path / "running" / "run.json").exists()
        assert (tmp_path / "running" / "pipeline" / "hakka" / "train-detector").exists()
    assert "killed" in json.loads((tmp_path / "killed" / "run.json").read_text())["error"]
    assert not (tmp_path / "killed" / "pipeline" / "hakka" / "train-detector").exists()


def test_the_shards_that_were_done_when_a_run_was_killed_are_kept(tmp_path):
    turns = [tmp_path / "killed" / "pipeline" / "hakka" / f"for-loop-1-iteration-{i}" / "scan-images" for i in range(2)]
    for step in turns:
        step.mkdir(parents=True)
    (turns[0] / "executor_output.json").write_text("{}")
    (tmp_path / "killed" / local.LOCK).touch()
    local.settle_killed_runs(tmp_path)
    assert [step.exists() for step in turns] == [True, False]


def test_what_no_step_runs_changes_nothing(house, settings):
    before = local.digest_code(["auto"], settings)
    (house / "hakka" / "__pycache__").mkdir()
    (house / "hakka" / "__pycache__" / "code.pyc").write_bytes(b"x")
    (house / "pipelines").mkdir()
    (house / "pipelines" / "local.py").write_text("a = 1\n")
    assert local.digest_code(["auto"], settings) == before


def test_weights_count_by_content_however_they_are_named(house, settings, tmp_path):
    weights = tmp_path / "mine.pt"
    weights.write_bytes(b"one")
    before = local.digest_code([str(weights)], settings)
    weights.write_bytes(b"two")
    assert local.digest_code([str(weights)], settings) != before

    before = local.digest_code(["yolo26s.pt"], settings)
    (settings.home / "weights").mkdir(parents=True)
    (settings.home / "weights" / "yolo26s.pt").write_bytes(b"one")
    assert local.digest_code(["yolo26s.pt"], settings) != before


def test_paths_of_a_run_do_not_depend_on_the_folder_it_is_started_in(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "start.pt").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    checked = local.check_arguments({"data": "photos", "weights": "start.pt"})
    assert checked == {"data": str(tmp_path / "photos"), "weights": str(tmp_path / "start.pt")}
    assert local.check_arguments({"data": "photos"})["weights"] == "auto"


def test_data_is_the_same_however_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    (tmp_path / "start.pt").write_bytes(b"x")
    (tmp_path / "yolo26n.pt").symlink_to(tmp_path / "start.pt")
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "./photos/../photos", "photos/", "link"):
        assert local.check_arguments({"data": name})["data"] == str(tmp_path / "photos")
    weights = local.check_arguments({"data": "photos", "weights": "photos/../yolo26n.pt"})["weights"]
    assert weights == str(tmp_path / "yolo26n.pt"), "a link keeps its name"


def test_weights_that_no_training_starts_from_need_not_be_there(tmp_path):
    arguments = {"data": str(tmp_path), "weights": "nosuch.pt", "variants": [{"weights": "starter"}]}
    assert local.check_arguments(arguments)["weights"] == "nosuch.pt"
    with pytest.raises(NotFound, match=r"weights: 'nosuch\.pt' is neither a file"):
        local.check_arguments({**arguments, "trials": 1})  # trials start from the run's own


def test_the_weights_of_a_variant_are_found_from_any_folder_and_count_by_content(tmp_path, monkeypatch, settings):
    (tmp_path / "mine.pt").write_bytes(b"one")
    monkeypatch.chdir(tmp_path)
    checked = local.check_arguments({"data": str(tmp_path), "variants": [{"weights": "mine.pt"}, {"imgsz": 64}]})
    assert checked["variants"] == [{"weights": str(tmp_path / "mine.pt")}, {"imgsz": 64}]
    before = local.digest_code(["auto", str(tmp_path / "mine.pt")], settings)
    (tmp_path / "mine.pt").write_bytes(b"two")
    assert local.digest_code(["auto", str(tmp_path / "mine.pt")], settings) != before


def test_a_number_of_shards_that_cannot_be_run_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="shards must be 1 to 10000, got 0"):
        local.check_arguments({"data": str(tmp_path), "shards": 0})


@pytest.mark.parametrize("name", ["nowhere", "~nobody-here/photos"])
def test_data_that_is_no_folder_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match="must be a folder of photos"):
        local.check_arguments({"data": name})
