"""Every component's form, and the bodies that run in an instant; test_pipelines_run.py runs them all."""

import ast
import inspect
import json
import shutil
from pathlib import Path

import pytest
import yaml
from kfp import dsl

import components
from hakka.data.sample import write_sample
from hakka.errors import CheckFailed, InvalidInput, Tampered
from hakka.images import TRAIN_IMAGE
from hakka.params import PARAMS_FILE, read_section
from hakka.registry import promote
from tests.serving.tiny_model import build_model_folder, register_model

EVERY = [getattr(components, name) for name in components.__all__]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "sample"
    write_sample(folder, images=16, size=96)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def artifact(kind, path):
    return kind(name=path.name, uri=str(path), metadata={})


def test_prepare_data_looks_at_the_champion_before_any_work(data, home, tmp_path):
    version = register_model(build_model_folder(tmp_path / "model"), home / "registry")
    promote(home / "registry", version)
    components.prepare_data.python_func(str(data), "")
    record = home / "registry" / "versions" / version / "model.json"
    record.chmod(0o644)
    record.write_text(record.read_text().replace('"map50": 0.9', '"map50": 0.5'))
    with pytest.raises(
        Tampered, match=r"the champion cannot be used: .* it was changed: .*; point the champion at another"
    ):
        components.prepare_data.python_func(str(data), "")


def scan(data, folder, shards=2):
    """The scans of all shards, as the steps hand them over."""
    images = artifact(dsl.Artifact, folder / "images")
    found = []
    for number, shard in enumerate(components.list_images.python_func(str(data), "r1", "auto", shards, images)):
        scans, counts = artifact(dsl.Artifact, folder / f"scans-{number}"), artifact(dsl.Metrics, folder / f"n{number}")
        components.scan_images.python_func(str(data), "r1", images, shard, scans, counts)
        found.append((scans, counts))
    return found


def convert(data, folder):
    dataset, counts, report = (
        artifact(kind, folder / name)
        for kind, name in ((dsl.Dataset, "dataset"), (dsl.Metrics, "counts"), (dsl.HTML, "report"))
    )
    scans = [scans for scans, _ in scan(data, folder)]
    components.convert_annotations.python_func(str(data), "r1", "auto", scans, dataset, counts, report)
    return scans, dataset, counts, report


@pytest.mark.parametrize("component", EVERY, ids=components.__all__)
def test_a_component_is_thin(component):
    body = ast.parse(inspect.getsource(component.python_func)).body[0].body
    assert isinstance(body[0], ast.Expr), "the first statement is the docstring"
    assert 1 <= len(body[1:]) <= 5


@pytest.mark.parametrize("component", EVERY, ids=components.__all__)
def test_a_component_runs_in_the_training_image_and_installs_nothing(component):
    container = component.component_spec.implementation.container
    assert container.image == TRAIN_IMAGE
    assert "pip install" not in " ".join(map(str, [*container.command, *container.args]))


@pytest.mark.parametrize("component", EVERY, ids=components.__all__)
def test_a_component_describes_itself_and_every_input(component):
    spec = component.component_spec
    assert spec.description
    undescribed = [name for name, value in (spec.inputs or {}).items() if not value.description]
    assert not undescribed


def test_prepare_data_names_the_state_of_a_folder_that_is_taken_as_it_lies(data, home):
    prepare = components.prepare_data.python_func
    folder, first, earlier = prepare(str(data), "")
    assert (folder, len(first), earlier) == (str(data), 64, "")
    (data / "annotations.json").write_text((data / "annotations.json").read_text() + "\n")
    assert prepare(str(data), "")[1] != first


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (None, r"'place=fridge' needs .*metadata\.csv, which is not there"),
        ("image;place;\na.jpg;table;\n", ""),
        ("image;room\na.jpg;table\n", "needs a column 'place' in .*; known are room"),
        ("photo;place\na.jpg;table\n", "needs a column 'image', got 'photo', 'place'"),
    ],
)
def test_prepare_data_refuses_a_slice_that_the_data_cannot_have(
    data, home, tmp_path, monkeypatch, capsys, table, words
):
    params = yaml.safe_load(PARAMS_FILE.read_text())
    params["gate"]["slices"] = ["dark", "place=fridge"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setattr(read_section, "__defaults__", (tmp_path / "params.yaml",))
    source = tmp_path / "photos"
    shutil.copytree(data, source)
    if table is not None:
        (source / "metadata.csv").write_text(table)
    if words:
        with pytest.raises(InvalidInput, match=words):
            components.prepare_data.python_func(str(source), "")
    else:
        components.prepare_data.python_func(str(source), "")
        assert "gate.slices: 'place=fridge' will not be judged" in capsys.readouterr().out


def test_list_images_names_the_shards_and_every_image_once(data, tmp_path):
    images = artifact(dsl.Artifact, tmp_path / "images")
    assert components.list_images.python_func(str(data), "r1", "auto", 3, images) == ["1/3", "2/3", "3/3"]
    names = [json.loads(line) for line in Path(images.path).read_text().splitlines()]
    assert len(names) == len(set(names)) > 16


def test_scan_images_shows_what_each_shard_read(data, tmp_path):
    counts = [counts.metadata for _, counts in scan(data, tmp_path)]
    assert len(counts) == 2
    assert all(entry["images"] > 0 and entry["bytes"] > 0 for entry in counts)


def test_convert_annotations_shows_counts_and_report_on_the_dashboard(data, tmp_path):
    _, dataset, counts, report = convert(data, tmp_path)
    written = json.loads(Path(dataset.path, "report.json").read_text())
    assert counts.metadata["images.converted"] == written["images"]["converted"] > 0
    assert json.loads(Path(counts.path).read_text()) == counts.metadata
    assert Path(report.path).read_text() == Path(dataset.path, "report.html").read_text()


def test_convert_annotations_refuses_a_folder_without_annotations(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.json").write_text("[1]")
    with pytest.raises(InvalidInput, match="photos"):
        convert(tmp_path / "photos", tmp_path)


def validate(data, folder):
    scans, dataset, *_ = convert(data, folder)
    validation, counts, report = (artifact(dsl.Artifact, folder / name) for name in ("validation", "figures", "page"))
    components.validate_dataset.python_func(str(data), str(data), dataset, scans, validation, counts, report)
    return validation, counts, report


def test_validate_and_accept_let_a_good_dataset_pass(data, home, tmp_path):
    validation, counts, report = validate(data, tmp_path)
    assert counts.metadata["errors"] == 0
    assert "<html" in Path(report.path).read_text()
    dataset = artifact(dsl.Dataset, tmp_path / "dataset")
    assert components.accept_dataset.python_func(validation, dataset, str(data), "r1") is None


def test_a_version_of_the_data_is_compared_with_the_one_accepted_before(data, home, tmp_path):
    annotations = json.loads((data / "annotations.json").read_text())
    accepted, *_ = validate(data, tmp_path / "first")
    first = artifact(dsl.Dataset, tmp_path / "first" / "dataset")
    components.accept_dataset.python_func(accepted, first, str(data), "r1")
    categories = [{**entry, "name": f"new {entry['name']}"} for entry in annotations["categories"]]
    try:
        (data / "annotations.json").write_text(json.dumps({**annotations, "categories": categories}))
        second, *_ = validate(data, tmp_path / "second")
    finally:
        (data / "annotations.json").write_text(json.dumps(annotations))
    checks = [
        {check["name"]: check for check in json.loads(Path(validation.path, "report.json").read_text())["checks"]}
        for validation in (accepted, second)
    ]
    assert checks[0]["data_drift"]["passed"]
    assert "is new" in checks[1]["data_drift"]["findings"][0]["reason"]


def test_a_version_of_the_data_keeps_the_splits_of_the_one_accepted_before(data, home, tmp_path):
    scans, first, counts, report = convert(data, tmp_path / "first")
    validation, *_ = validate(data, tmp_path / "first")
    components.accept_dataset.python_func(validation, first, str(data), "r0")
    _, _, earlier = components.prepare_data.python_func(str(data), "")
    assert earlier == json.loads(Path(first.path, "dataset.json").read_text())["digest"]
    second = artifact(dsl.Dataset, tmp_path / "second")
    components.convert_annotations.python_func(str(data), "r1", "auto", scans, second, counts, report, earlier)
    assert json.loads(Path(second.path, "dataset.json").read_text())["earlier"] == earlier
    assert Path(second.path, "index.jsonl").read_bytes() == Path(first.path, "index.jsonl").read_bytes()


def test_accept_dataset_says_which_check_said_no_and_where_to_read_more(tmp_path):
    validation = artifact(dsl.Artifact, tmp_path)
    checks = [
        {"name": "split_leakage", "severity": "error", "passed": False},
        {"name": "image_size", "severity": "warning", "passed": False},
    ]
    (tmp_path / "report.json").write_text(json.dumps({"passed": False, "checks": checks}))
    with pytest.raises(CheckFailed) as caught:
        components.accept_dataset.python_func(validation, artifact(dsl.Dataset, tmp_path / "dataset"), "photos", "r1")
    assert "1 said no: split_leakage" in str(caught.value)
    assert str(tmp_path / "report.html") in str(caught.value)


def test_keep_champion_names_no_version_in_an_empty_registry(home, capsys):
    assert components.keep_champion.python_func("too few test images") == ""
    assert "too few test images" in capsys.readouterr().out


def test_deploy_model_passes_a_refusal_on(home):
    with pytest.raises(InvalidInput, match="moon"):
        components.deploy_model.python_func("0123456789ab", "moon")
