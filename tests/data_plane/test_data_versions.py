"""Versions by DVC, run for real in a throw-away repository."""

import configparser
import subprocess
from pathlib import Path

import pytest
import yaml
from data_pictures import draw

from hakka.data.versions import revision, run_dvc, track
from hakka.errors import InvalidInput

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def repository(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    run_dvc(["init"], cwd=tmp_path)
    (tmp_path / ".dvc" / "config").write_bytes((REPO / ".dvc" / "config").read_bytes())
    draw(tmp_path / "photos" / "a.jpg", 1)
    return tmp_path


def test_a_tracked_folder_has_its_dvc_revision_until_it_changes(repository):
    photos = repository / "photos"
    assert revision(photos).startswith("local-")
    first = track(photos)
    record = yaml.safe_load((repository / "photos.dvc").read_text())
    assert first == revision(photos) == f"dvc-{record['outs'][0]['md5']}"
    draw(photos / "b.jpg", 2)
    assert revision(photos).startswith("local-")
    assert track(photos) not in (first, "")
    run_dvc(["push"], cwd=repository)
    assert list((repository / ".dvc-storage").rglob("*.dir"))


def test_what_dvc_refuses_is_one_sentence(tmp_path):
    draw(tmp_path / "photos" / "a.jpg", 1)
    with pytest.raises(InvalidInput, match="dvc add") as caught:
        track(tmp_path / "photos")
    assert "\n" not in str(caught.value)


def test_dvc_says_nothing_to_the_outside_and_its_remote_is_local():
    config = configparser.ConfigParser()
    config.read(REPO / ".dvc" / "config")
    assert config["core"]["analytics"] == config["core"]["check_update"] == "false"
    assert config["'remote \"local\"'"]["url"] == "../.dvc-storage"
    assert ".dvc-storage/" in (REPO / ".gitignore").read_text().split()


def test_the_stages_call_the_command_line_with_what_they_depend_on():
    stages = yaml.safe_load((REPO / "dvc.yaml").read_text())["stages"]
    params = yaml.safe_load((REPO / "params.yaml").read_text())
    for name, stage in stages.items():
        assert stage["cmd"].startswith(f"hakka {name} ")
        assert all(section in params for section in stage["params"])
        folders = [part if part.endswith("dataset") else str(Path(part).parent) for part in stage["outs"]]
        assert all(folder in stage["cmd"].split() for folder in folders)
    assert stages["convert"]["outs"][0] in stages["validate"]["deps"]
