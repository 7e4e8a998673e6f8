"""Versions that never change, channels that move whole, also under several writers and kills."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hakka.detector.modelfile import read_model_info
from hakka.errors import InvalidInput, NotFound, Tampered
from hakka.files import write_json
from hakka.registry import (
    champion,
    channel_history,
    keep_run,
    list_versions,
    promote,
    publish,
    read_run,
    resolve,
    rollback,
)
from tests.serving.tiny_model import build_model_folder, register_model

OTHER = ((4, 4, 20, 20, 0.8, 2),)


@pytest.fixture
def registry(tmp_path):
    return tmp_path / "registry"


@pytest.fixture
def versions(tmp_path, registry):
    """Two registered versions."""
    first = register_model(build_model_folder(tmp_path / "one"), registry)
    second = register_model(build_model_folder(tmp_path / "two", found=OTHER), registry)
    assert first != second
    return first, second


def test_an_empty_registry_says_what_to_do(registry):
    assert champion(registry) is None
    assert list_versions(registry) == []
    with pytest.raises(NotFound, match="hakka run"):
        resolve("champion", registry)


def test_a_version_holds_its_metrics_and_where_it_comes_from(registry, versions):
    record = read_model_info(resolve(versions[0], registry)).raw
    assert record["metrics"]["map50"] == 0.9
    assert record["data"]["revision"] == "data-1"
    assert record["kfp_run"] == "run-1"


def test_the_record_of_the_run_that_made_a_version_never_changes(registry, versions):
    assert read_run(registry, versions[0]) == {}
    for task in ("first", "second"):
        keep_run(registry, versions[0], {"run": "run-1", "clearml": {"task": task}})
    assert read_run(registry, versions[0])["clearml"] == {"task": "first"}
    assert read_run(registry, versions[1]) == {}
    (registry / "runs" / f"{versions[1]}.json").write_text("[]")
    with pytest.raises(InvalidInput, match="not the record of a run"):
        read_run(registry, versions[1])


def test_registering_twice_is_one_registration(tmp_path, registry, versions):
    before = (registry / "versions" / versions[0] / "model.json").read_bytes()
    shutil.copytree(tmp_path / "one", tmp_path / "again")
    assert register_model(tmp_path / "again", registry) == versions[0]
    assert (registry / "versions" / versions[0] / "model.json").read_bytes() == before
    assert len(list_versions(registry)) == 2


def test_an_evaluation_of_another_model_is_refused(tmp_path, registry):
    folder = build_model_folder(tmp_path / "one")
    write_json(tmp_path / "evaluation" / "metrics.json", {"version": "0" * 12, "map50": 0.9})
    with pytest.raises(InvalidInput, match="must evaluate version"):
        publish(folder, tmp_path / "evaluation", registry, channel="champion", lineage={})
    assert list_versions(registry) == []


def test_a_tampered_model_is_not_registered(tmp_path, registry):
    folder = build_model_folder(tmp_path / "one")
    (folder / "model.bin").write_bytes(b"other weights")
    with pytest.raises(Tampered):
        register_model(folder, registry)
    assert list_versions(registry) == []


def test_promote_and_roll_back(registry, versions):
    first, second = versions
    promote(registry, first)
    promote(registry, second)
    assert resolve("champion", registry).name == second
    assert rollback(registry) == first
    assert champion(registry) == first
    with pytest.raises(NotFound, match="no earlier version"):
        rollback(registry)
    promote(registry, second)
    assert rollback(registry) == first
    assert [step["action"] for step in channel_history(registry, "champion")] == [
        "promote",
        "promote",
        "rollback",
        "promote",
        "rollback",
    ]


def test_promoting_the_champion_again_changes_nothing(registry, versions):
    promote(registry, versions[0])
    promote(registry, versions[0])
    assert len(channel_history(registry, "champion")) == 1


@pytest.mark.parametrize("name", ["../../etc", "staging", "", "0123456789AB"])
def test_names_that_are_neither_channel_nor_version_are_refused(registry, name):
    with pytest.raises(InvalidInput):
        resolve(name, registry)


def test_an_unknown_version_is_said(registry):
    with pytest.raises(NotFound, match="abcabcabcabc is not in the registry"):
        promote(registry, "abcabcabcabc")


SWITCH = """
import sys
from pathlib import Path
from hakka.registry import promote
registry, versions = Path(sys.argv[1]), sys.argv[2:4]
for i in range(int(sys.argv[4])):
    promote(registry, versions[i % 2])
    print(i, flush=True)
"""


def _switcher(registry, versions, times):
    command = [sys.executable, "-c", SWITCH, str(registry), *versions, str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True)


def test_two_writers_at_once_lose_no_step(registry, versions):
    promote(registry, versions[0])
    writers = [_switcher(registry, versions, 15), _switcher(registry, versions[::-1], 15)]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    history = [step["version"] for step in channel_history(registry, "champion")]
    assert all(a != b for a, b in itertools.pairwise(history)), "a step was overwritten"
    assert champion(registry) == history[-1]


def test_a_writer_that_is_killed_leaves_a_whole_channel(registry, versions):
    promote(registry, versions[0])
    for _ in range(5):
        writer = _switcher(registry, versions, 10_000)
        writer.stdout.readline()
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:
            channel_history(registry, "champion")  # raises on half a file
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert champion(registry) in versions
    promote(registry, versions[1])
    promote(registry, versions[0])
    assert champion(registry) == versions[0], "a killed writer must not leave the channel locked"
