"""Every component's form, and the bodies that run in an instant; test_pipelines_run.py runs them all."""

import ast
import inspect
import json
from pathlib import Path

import pytest
from kfp import dsl

import components
from hakka.data.sample import write_sample
from hakka.errors import CheckFailed, InvalidInput
from hakka.images import TRAIN_IMAGE

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


def convert(data, folder):
    dataset, counts, report = (
        artifact(kind, folder / name)
        for kind, name in ((dsl.Dataset, "dataset"), (dsl.Metrics, "counts"), (dsl.HTML, "report"))
    )
    components.convert_annotations.python_func(str(data), "r1", "auto", dataset, counts, report)
    return dataset, counts, report


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


def test_fingerprint_data_prefers_the_revision_it_is_given(data):
    fingerprint = components.fingerprint_data.python_func
    assert fingerprint(str(data), "v7") == "v7"
    first = fingerprint(str(data), "")
    assert len(first) == 64
    (data / "annotations.json").write_text((data / "annotations.json").read_text() + "\n")
    assert fingerprint(str(data), "") != first


def test_convert_annotations_shows_counts_and_report_on_the_dashboard(data, tmp_path):
    dataset, counts, report = convert(data, tmp_path)
    written = json.loads(Path(dataset.path, "report.json").read_text())
    assert counts.metadata["images.converted"] == written["images"]["converted"] > 0
    assert json.loads(Path(counts.path).read_text()) == counts.metadata
    assert Path(report.path).read_text() == Path(dataset.path, "report.html").read_text()


def test_convert_annotations_refuses_a_folder_without_annotations(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.json").write_text("[1]")
    with pytest.raises(InvalidInput, match="photos"):
        convert(tmp_path / "photos", tmp_path)


def test_validate_and_accept_let_a_good_dataset_pass(data, tmp_path):
    dataset, *_ = convert(data, tmp_path)
    validation, counts, report = (artifact(dsl.Artifact, tmp_path / name) for name in ("validation", "figures", "page"))
    components.validate_dataset.python_func(str(data), dataset, validation, counts, report)
    assert counts.metadata["errors"] == 0
    assert "<html" in Path(report.path).read_text()
    assert components.accept_dataset.python_func(validation) is None


def test_accept_dataset_says_which_check_said_no_and_where_to_read_more(tmp_path):
    validation = artifact(dsl.Artifact, tmp_path)
    checks = [
        {"name": "split_leakage", "severity": "error", "passed": False},
        {"name": "image_size", "severity": "warning", "passed": False},
    ]
    (tmp_path / "report.json").write_text(json.dumps({"passed": False, "checks": checks}))
    with pytest.raises(CheckFailed) as caught:
        components.accept_dataset.python_func(validation)
    assert "1 said no: split_leakage" in str(caught.value)
    assert str(tmp_path / "report.html") in str(caught.value)


def test_keep_champion_names_no_version_in_an_empty_registry(home, capsys):
    assert components.keep_champion.python_func("too few test images") == ""
    assert "too few test images" in capsys.readouterr().out


def test_deploy_model_passes_a_refusal_on(home):
    with pytest.raises(InvalidInput, match="moon"):
        components.deploy_model.python_func("0123456789ab", "moon")
