"""YAML whose keys come once: what is refused, what is read as PyYAML reads it, and where it is used for params.yaml."""

import pytest
import yaml

from hakka.errors import InvalidInput
from hakka.params import read_params
from hakka.strict_yaml import RepeatedKey, SafeLoader, load_yaml

MERGED = "top:\n  base: &base {x: 1, y: 2}\nmore: &more {<<: *base, x: 3}\nall: {<<: *more, y: 4}\n"


@pytest.mark.parametrize("loader", [SafeLoader, yaml.SafeLoader, yaml.BaseLoader])
@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("a: 1\nb: 2\na: 1\n", "a", 3),
        ("a: {b: 1, b: 2}", "b", 1),
        ("- x: 1\n- x: 1\n  'x': 2\n", "x", 3),
        ("{? {a: 1,\n a: 2} : 3}", "a", 2),
        ("a: &a [{b: 1}]\nc: *a\nd: [*a, {e: 1,\n e: 2}]\nf: {g: 1, g: 2}", "e", 4),
    ],
)
def test_the_first_key_that_comes_twice_is_named_with_its_line(loader, text, key, line):
    with pytest.raises(RepeatedKey, match=f"^a key must come once in a mapping, got '{key}' again in line {line}$"):
        load_yaml(text, loader)


@pytest.mark.parametrize("text", ["", "3", "a: {b: 1}\nc: {b: 2}", "[{a: 1}, {a: 1}]", "1: a\n'1': b", MERGED])
def test_everything_else_is_read_as_ever(text):
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml(text.encode()) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["born: 2024-13-45", "born: 2024-01-01 25:00:00", f"a: {'9' * 5000}"])
def test_a_date_or_a_number_that_cannot_be_is_no_yaml(text, tmp_path):
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)
    params = tmp_path / "params.yaml"
    params.write_text(f"train: {{{text}}}")
    with pytest.raises(InvalidInput, match=r"params\.yaml: not valid YAML"):
        read_params(params)


def test_a_few_lines_of_aliases_are_looked_at_once():
    text = "a0: &a0 [{x: 1}]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    with pytest.raises(RepeatedKey, match="got 'z' again in line 61"):
        load_yaml(text + "b: {z: 1, z: 2}")


def test_a_parameter_that_stands_twice_is_refused_with_file_and_line(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  imgsz: 320\n  seed: 0\n  imgsz: 64\n")
    with pytest.raises(InvalidInput) as caught:
        read_params(params)
    assert str(caught.value) == (
        f"{params}: not valid YAML: a key must come once in a mapping, got 'imgsz' again in line 4"
    )
