"""``params.yaml``: what is missing or misspelt is one sentence, whatever the section."""

import re
from dataclasses import fields

import pytest
import yaml

from hakka.data.shards import ScanParams
from hakka.data.split import SplitParams
from hakka.detector.export import ExportParams
from hakka.detector.gate import GateParams
from hakka.detector.search import SearchParams
from hakka.detector.train import TrainParams
from hakka.detector.variants import VariantParams
from hakka.errors import InvalidInput
from hakka.monitor.columns import DriftParams
from hakka.params import PARAMS_FILE, SECTIONS, nearest, read_params, read_section
from hakka.quality.limits import read_limits
from pipelines.cluster import ClusterParams

KINDS = {
    "train": TrainParams,
    "export": ExportParams,
    "variants": VariantParams,
    "search": SearchParams,
    "gate": GateParams,
    "split": SplitParams,
    "scan": ScanParams,
    "cluster": ClusterParams,
    "monitor": DriftParams,
}


@pytest.fixture
def write(tmp_path):
    def write(change):
        params = yaml.safe_load(PARAMS_FILE.read_text())
        change(params)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        return tmp_path / "params.yaml"

    return write


def test_the_file_of_the_repo_has_every_section_and_every_parameter():
    params = read_params()
    assert set(params) == set(SECTIONS) == {*KINDS, "quality"}
    for name, kind in KINDS.items():
        assert set(params[name]) == {field.name for field in fields(kind)}
        read_section(kind, name)


@pytest.mark.parametrize("name", KINDS)
def test_a_section_or_a_parameter_that_is_not_there_is_named(write, name):
    path = write(lambda params: params.pop(name))
    with pytest.raises(InvalidInput, match=rf"params\.yaml: must have a section {name}, there is none$"):
        read_section(KINDS[name], name, path)
    first = fields(KINDS[name])[0].name
    path = write(lambda params: params[name].pop(first))
    with pytest.raises(InvalidInput, match=rf"section {name} must name every parameter of it; missing: {first}$"):
        read_section(KINDS[name], name, path)


def test_the_section_of_the_checks_must_be_there_too(write):
    with pytest.raises(InvalidInput, match=r"params\.yaml: must have a section quality, there is none$"):
        read_limits(write(lambda params: params.pop("quality")))


@pytest.mark.parametrize(("wrong", "right"), [("qualty", "quality"), ("splt", "split"), ("gates", "gate")])
def test_a_misspelt_section_is_refused_with_the_nearest_name(write, wrong, right):
    path = write(lambda params: params.update({wrong: params.pop(right)}))
    with pytest.raises(InvalidInput, match=rf"'{wrong}' is not a section; nearest is '{right}'$"):
        read_params(path)


def test_a_misspelt_parameter_is_refused_with_the_nearest_name(write):
    path = write(lambda params: params["gate"].update(flor=0.1))
    with pytest.raises(InvalidInput, match=r"gate\.flor is not a parameter; nearest is 'floor'$"):
        read_section(GateParams, "gate", path)
    assert nearest("zzz", ("a", "b")) == "known are a, b"


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("train", "augment", 5, "train.augment must be dict, got 5"),
        ("gate", "slices", "dark", "gate.slices must be list, got 'dark'"),
        ("search", "space", ["mosaic"], "search.space must be dict, got ['mosaic']"),
        ("train", "epochs", True, "train.epochs must be int, got True"),
    ],
)
def test_a_value_of_another_type_is_refused(write, name, key, value, words):
    path = write(lambda params: params[name].update({key: value}))
    with pytest.raises(InvalidInput, match=f"{re.escape(words)}$"):
        read_section(KINDS[name], name, path)


def test_an_override_stands_for_a_parameter_that_the_file_lacks(write):
    path = write(lambda params: params["scan"].pop("shards"))
    assert read_section(ScanParams, "scan", path, shards=3).shards == 3
