"""Versions that never change, channels that move whole, also under several writers and kills."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from hakka.cli import main
from hakka.detector.modelfile import read_model_info, write_record
from hakka.detector.runtime import load_detector
from hakka.errors import InvalidInput, NotFound, Tampered
from hakka.files import read_json, write_json
from hakka.registry import (
    champion,
    channel_history,
    keep_run,
    list_versions,
    promote,
    publish,
    read_run,
    read_version,
    resolve,
    rollback,
)
from tests.serving.tiny_model import FOUND, build_model_folder, register_model

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
    with pytest.raises(NotFound, match="hakka promote VERSION --channel canary"):
        resolve("canary", registry)


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


CHANGES = {
    "confidence": lambda record: record["thresholds"].update(confidence=0.99),
    "metrics": lambda record: record["metrics"].update(map50=0.999),
    "revision": lambda record: record["data"].update(revision="data-2"),
    "commit": lambda record: record["code"].update(commit="0" * 40),
    "created": lambda record: record.update(created="2020-01-01T00:00:00+00:00"),
    "run": lambda record: record.update(kfp_run="run-2"),
    "nms_free": lambda record: record.update(nms_free=True),
    "another key": lambda record: record.update(note=""),
    "no reference": lambda record: record["files"].pop("reference.parquet"),
}


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """The registry of ``HAKKA_HOME`` with a champion and another version, both with a reference, and their folders."""
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HAKKA_REGISTRY", raising=False)
    folders = []
    for name, found in {"one": FOUND, "two": OTHER}.items():
        folder = build_model_folder(tmp_path / name, found=found)
        (folder / "reference.parquet").write_bytes(name.encode())
        write_record(folder, read_json(folder / "model.json"))
        folders.append(tmp_path / "home" / "registry" / "versions" / register_model(folder, tmp_path / "home/registry"))
    promote(tmp_path / "home" / "registry", folders[0].name)
    return folders


def replace_file(path, content):
    """Other bytes in the place of a registry's file, which is read-only."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def says_no(folder, capsys, words):
    """Each way in which a version that is the champion is used refuses it, in one sentence."""
    registry = folder.parents[1]
    with pytest.raises(Tampered, match=words):
        load_detector(resolve("champion", registry))
    with pytest.raises(Tampered, match=words):
        promote(registry, folder.name, "canary")
    assert channel_history(registry, "canary") == []
    photo = str(registry.parent / "photo.jpg")
    Image.new("RGB", (20, 10)).save(photo)
    uses = ["models --card champion", f"promote {folder.name}", f"predict {photo} --model champion", "monitor"]
    for use in uses:
        assert main(use.split()) == 2, use
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), use


@pytest.mark.parametrize("name", CHANGES)
def test_a_record_that_was_changed_is_refused_everywhere(watched, capsys, name):
    record = read_json(watched[0] / "model.json")
    CHANGES[name](record)
    replace_file(watched[0] / "model.json", json.dumps(record).encode())
    says_no(watched[0], capsys, r"model\.json: ")
    with pytest.raises(Tampered):
        read_version(watched[0].parents[1], watched[0].name)
    assert main(["models"]) == 2
    out, err = capsys.readouterr()
    assert watched[0].name in err
    assert [line.split()[0] for line in out.splitlines()] == [watched[1].name], "the others are still listed"


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "reference.parquet", "model.onnx"])
def test_a_file_of_another_version_is_refused_everywhere(watched, capsys, name):
    there = watched[1] / name
    replace_file(watched[0] / name, there.read_bytes() + b" " if there.exists() else b"not in the record")
    says_no(watched[0], capsys, name)


def test_a_version_in_the_folder_of_another_is_refused_everywhere(watched, capsys):
    shutil.rmtree(watched[0])
    shutil.copytree(watched[1], watched[0])
    says_no(watched[0], capsys, f"must hold that version, it holds {watched[1].name}")


def test_a_card_takes_figures_and_lineage_from_the_version_not_from_the_record_of_its_run(watched, capsys):
    metrics = {"version": watched[0].name, "map50": 0.999, "calibration": {"error": 0.125, "bins": []}}
    keep_run(watched[0].parents[1], watched[0].name, {"run": "forged", "data_revision": "forged", "metrics": metrics})
    assert main(["models", "--card", "champion"]) == 0
    card = capsys.readouterr().out
    assert "0.9" in card
    assert "0.999" not in card
    assert "forged" not in card
    assert "error 0.125" in card, "what only the run knows is shown"


def test_going_back_to_a_version_that_is_damaged_is_refused(watched):
    registry = watched[0].parents[1]
    promote(registry, watched[1].name)
    replace_file(watched[0] / "model.bin", b"")
    with pytest.raises(Tampered, match=r"model\.bin"):
        rollback(registry)
    assert champion(registry) == watched[1].name


def test_what_another_release_registered_is_said(watched, capsys):
    record = {**read_json(watched[0] / "model.json"), "format": 1}
    replace_file(watched[0] / "model.json", json.dumps(record).encode())
    for use in ("models", "models --card champion", f"promote {watched[0].name}"):
        assert main(use.split()) == 2
        assert "format must be 2, got 1: another release of Hakka wrote it" in capsys.readouterr().err


def test_a_registered_file_is_read_only_and_shares_no_bytes_with_the_run(tmp_path, watched):
    before = (watched[0] / "model.bin").read_bytes()
    with (tmp_path / "one" / "model.bin").open("r+b") as file:
        file.write(b"edited in place")
    assert (watched[0] / "model.bin").read_bytes() == before
    files = [path for path in watched[0].parents[1].rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}


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


def test_a_canary_ends_by_its_promotion_or_by_a_rollback(watched, capsys):
    first, second = (folder.name for folder in watched)
    assert main(["promote", second, "--channel", "canary"]) == 0
    assert main(["promote", first]) == 0
    capsys.readouterr()
    assert main(["promote", second]) == 0
    assert capsys.readouterr().out == (f"champion: {second}\ncanary: empty, as its version is the champion now\n")
    assert main(["promote", first, "--channel", "canary"]) == 0
    assert main(["rollback", "--channel", "canary"]) == 0
    assert capsys.readouterr().out == f"canary: {first}\ncanary: empty\n"
    with pytest.raises(NotFound, match=r"channel 'canary' of the registry .* is empty"):
        resolve("canary", watched[0].parents[1])
    assert main(["rollback", "--channel", "canary"]) == 2
    assert "is empty already" in capsys.readouterr().err
    main(["models", "--history", "canary"])
    rows = [line.split()[1:] for line in capsys.readouterr().out.splitlines()]
    assert rows == [["promote", second], ["end", "-"], ["promote", first], ["end", "-"]]


def test_the_history_of_a_channel_is_shown(watched, capsys):
    first, second = (folder.name for folder in watched)
    main(["promote", second])
    main(["rollback"])
    capsys.readouterr()
    assert main(["models", "--history"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[1:] for line in lines] == [["promote", first], ["promote", second], ["rollback", first]]
    assert main(["models", "--history", "--json"]) == 0
    steps = channel_history(watched[0].parents[1], "champion")
    assert json.loads(capsys.readouterr().out) == {"channel": "champion", "steps": steps}
    assert [line[0] for line in lines] == [step["time"] for step in steps]
    assert main(["models", "--history", "canary"]) == 0
    assert capsys.readouterr().out == "canary: nothing was ever promoted\n"


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
