"""Versions of the data, with real git and real DVC in throw-away repositories."""

import configparser
import filecmp
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from data_pictures import coco, draw

from hakka.cli import main
from hakka.data.dvc import run_dvc
from hakka.data.versions import checkout, find_record, list_versions, revision
from hakka.errors import InvalidInput, NotFound, Tampered

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def cook(tmp_path, monkeypatch):
    """Somebody with a home, of whom git knows the name."""
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "cook")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "cook@example.org")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A git repository with ``photos``; the process stands in it."""
    folder = tmp_path / "project"
    write_photos(folder / "photos", {0: [8, 8, 32, 16], 1: [8, 8, 32, 16], 2: [4, 4, 20, 20]})
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def one_tracked(tmp_path_factory):
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture
def tracked(project, one_tracked, tmp_path, capsys, monkeypatch):
    """The project once its photos are tracked and committed as v1 (once for all tests, then a copy)."""
    if not (one_tracked / "photos.dvc").exists():
        assert hakka(capsys, "track", "photos", "--tag", "v1", "--remote", "../remote")[0] == 0
        shutil.copytree(project, one_tracked, dirs_exist_ok=True)
    else:
        shutil.rmtree(project)
        shutil.copytree(one_tracked, project)
        monkeypatch.chdir(project)
        config = project / ".dvc" / "config.local"
        config.write_text(re.sub(r"url = .*", f"url = {tmp_path / 'remote'}", config.read_text()))
    return project


def write_photos(folder, boxes):
    """One box an image; the image of number n looks like n."""
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 96, "height": 64} for n in boxes]
    annotations = [{"id": n, "image_id": n, "category_id": 10, "bbox": bbox} for n, bbox in boxes.items()]
    for n in boxes:
        if not (folder / "images" / f"{n}.jpg").exists():
            draw(folder / "images" / f"{n}.jpg", n)
    target = folder / "annotations.json"
    target.unlink(missing_ok=True)  # a tracked file is a read-only link
    target.write_text(json.dumps(coco(images, annotations)))


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def inodes(folder):
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def cached(path):
    """The object of the cache with the bytes of a file."""
    objects = (other for other in Path(".dvc/cache/files").rglob("*") if other.is_file())
    return next(other for other in objects if filecmp.cmp(other, path, shallow=False))


def hakka(capsys, *arguments):
    """Exit code, stdout and stderr of ``hakka data ARGUMENTS``."""
    code = main(["data", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_from_the_first_version_to_another_machine(project, tmp_path, capsys, monkeypatch):
    first, own = content(project / "photos"), inodes(project / "photos")
    code, out, _ = hakka(capsys, "track", "photos")
    assert code == 0
    assert "photos: 4 files" in out
    assert inodes(project / "photos") == own <= inodes(project / ".dvc" / "cache"), "linked, not copied"
    for line in out.splitlines():
        if " git " in line:
            subprocess.run(line.removeprefix("next").strip(), shell=True, check=True, capture_output=True)
    subprocess.run(["git", "tag", "v1"], check=True)
    assert subprocess.run(["git", "status", "--short"], capture_output=True).stdout == b""
    assert str(tmp_path) not in (project / ".dvc" / "config").read_text(), "no machine's paths in git"

    (project / "photos" / "images" / "2.jpg").unlink()
    write_photos(project / "photos", {0: [8, 8, 32, 16], 1: [10, 8, 32, 16], 3: [1, 1, 9, 9]})
    second = content(project / "photos")
    code, out, _ = hakka(capsys, "diff", "v1", "--json")
    since = json.loads(out)
    code, out, _ = hakka(capsys, "track", "photos", "--message", "June", "--tag", "v2", "--json")
    md5 = json.loads(out)["md5"]
    assert hakka(capsys, "push", "--all")[:2] == (0, "8 files pushed\n"), "two lists, two annotation files, four photos"
    _, out, _ = hakka(capsys, "list", "--json")
    newest, oldest = json.loads(out)["photos"]
    assert (newest["md5"], newest["tags"], newest["message"], newest["files"]) == (md5, ["v2"], "June", 4)
    assert oldest["tags"] == ["v1"]

    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", project, clone], check=True)
    monkeypatch.chdir(clone)
    assert hakka(capsys, "pull") == (
        2,
        "",
        "error: dvc pull photos.dvc: there is no remote: dvc remote add --default NAME URL, or --remote NAME\n",
    )
    run_dvc(["remote", "add", "--local", "--default", "disk", str(tmp_path / "home" / "dvc-remote")], clone)
    code, out, _ = hakka(capsys, "diff", "v1", "v2", "--json")
    assert code == 0
    change = json.loads(out)
    assert {**change, "to": 0} == {**since, "to": 0}, "the folder as it lay was what became v2"
    assert change["images"]["added"] == ["images/3.jpg"]
    assert change["images"]["removed"] == ["images/2.jpg"]
    assert (change["boxes"]["moved"], change["boxes"]["added"], change["boxes"]["removed"]) == (1, 1, 1)
    assert len(inodes(clone / ".dvc" / "cache")) == 4, "no photo is fetched for a diff"
    assert content(checkout(Path("photos"), "v1", tmp_path / "versions")) == first
    assert hakka(capsys, "pull", "photos")[0] == 0
    assert content(clone / "photos") == second
    assert revision(Path("photos")) == f"dvc-{md5}" == find_record(Path("photos"), "v2").revision
    (clone / "photos" / "notes.txt").write_text("mine, never tracked")
    code, _, message = hakka(capsys, "pull", "photos")
    assert code == 2
    assert "--force" in message
    assert (clone / "photos" / "notes.txt").is_file()
    assert hakka(capsys, "pull", "photos", "--force")[0] == 0
    assert content(clone / "photos") == second


def test_a_version_is_checked_out_once_by_links(tracked, tmp_path):
    wanted = content(tracked / "photos")
    write_photos(tracked / "photos", {0: [8, 8, 32, 16]})
    folder = checkout(Path("photos"), "v1", tmp_path / "versions")
    assert content(folder) == wanted
    assert inodes(folder) <= inodes(tracked / ".dvc" / "cache")
    record = find_record(Path("photos"), "v1")
    assert folder.name == record.md5.removesuffix(".dir")
    for name in ("HEAD", record.revision):
        assert checkout(Path("photos"), name, tmp_path / "versions") == folder
    (tmp_path / "elsewhere").mkdir()
    (tracked / ".dvc" / "cache").rename(tmp_path / "elsewhere" / "cache")
    run_dvc(["cache", "dir", "--local", str(tmp_path / "elsewhere" / "cache")], tracked)
    assert content(checkout(Path("photos"), "v1", tmp_path / "more")) == wanted


def test_what_cannot_be_given_is_one_sentence(tracked, tmp_path):
    photos, versions = Path("photos"), tmp_path / "versions"
    for name, error in (
        ("nosuch", "git knows no revision 'nosuch'"),
        ("--all", "git knows no revision '--all'"),
        ("dvc-12", "dvc-12: not a DVC file"),
        (f"dvc-{'0' * 32}.dir", "1 of 1 files are neither in the DVC cache nor in the remote"),
    ):
        with pytest.raises((NotFound, InvalidInput), match=error) as caught:
            checkout(photos, name, versions)
        assert "\n" not in str(caught.value)
    with pytest.raises(NotFound, match="other: not tracked by DVC at 'HEAD'"):
        checkout(Path("other"), "HEAD", versions)
    photo = cached(photos / "images" / "1.jpg")
    photo.chmod(0o644)
    with photo.open("ab") as file:
        file.write(b"x")
    with pytest.raises(Tampered, match="must have the MD5"):
        checkout(photos, "HEAD", versions)
    assert [path.name for path in versions.iterdir() if not path.name.startswith(".lock")] == []


def test_what_cannot_be_tracked_is_one_sentence(project, tmp_path, capsys):
    subprocess.run(["git", "add", "photos"], check=True)
    assert "git keeps 4 of its files" in hakka(capsys, "track", "photos")[2]
    assert "got the repository itself" in hakka(capsys, "track", ".")[2]
    assert "none there" in hakka(capsys, "track", "nosuch")[2]
    shutil.rmtree(project / ".git")
    assert "run `git init`" in hakka(capsys, "track", "photos")[2]
    assert not (project / ".dvc").exists()
    assert "not inside a git repository" in hakka(capsys, "list", "photos")[2]


def test_a_push_that_lacks_a_file_is_no_success(tracked, capsys):
    photo = Path("photos/images/0.jpg")
    cached(photo).unlink()
    photo.unlink()
    code, _, err = hakka(capsys, "push", "photos")
    assert code == 2
    assert "1 files of this version are neither in the cache nor in the remote" in err


def test_push_and_pull_of_all_folders_leave_out_what_dvc_yaml_makes(tracked, tmp_path, capsys):
    """The outputs of a dvc.lock that came with the repository were never in the cache of who cloned it."""
    stage = {
        "cmd": "make it",
        "deps": [{"path": "params.yaml"}],
        "outs": [{"path": "made", "md5": "0" * 32, "size": 1}],
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": {"cmd": "make it", "outs": ["made"]}}}))
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"make": {**stage, "deps": []}}}))
    assert hakka(capsys, "push")[0] == 0
    shutil.rmtree(".dvc/cache")
    shutil.rmtree("photos")
    assert hakka(capsys, "pull")[0] == 0
    assert len(list(Path("photos/images").iterdir())) == 3
    Path("photos.dvc").unlink()
    code, _, err = hakka(capsys, "push")
    assert code == 2
    assert "no folder is tracked here yet" in err


def test_without_a_name_for_its_commits_nothing_is_changed(project, capsys, monkeypatch):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
        monkeypatch.delenv(f"GIT_{who}_EMAIL")
    monkeypatch.setenv("EMAIL", "")
    subprocess.run(["git", "config", "user.useConfigOnly", "true"], check=True)
    code, _, err = hakka(capsys, "track", "photos", "--tag", "v1")
    assert code == 2
    assert "git config --global user.name" in err
    assert not Path("photos.dvc").exists()
    assert not Path(".dvc").exists()


@pytest.mark.parametrize(("tag", "words"), [("v1", "there already"), ("a b", "a name that git takes")])
def test_with_a_tag_that_cannot_be_given_nothing_is_changed(project, capsys, tag, words):
    assert hakka(capsys, "track", "photos", "--tag", "v1")[0] == 0
    before = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True).stdout
    (Path("photos") / "notes.txt").write_text("new")
    code, _, err = hakka(capsys, "track", "photos", "--tag", tag)
    assert code == 2
    assert words in err
    assert subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True).stdout == before
    assert not subprocess.run(["git", "diff", "HEAD", "--name-only"], check=True, capture_output=True).stdout


KILLED = """
import os, signal, sys
from pathlib import Path
from hakka.data import versions
link = versions.link_object
def die(source, target, count=[]):
    count.append(link(source, target))
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
versions.link_object = die
versions.checkout(Path("photos"), "HEAD", Path(sys.argv[1]))
"""


def test_a_checkout_that_is_killed_leaves_no_half_version(tracked, tmp_path):
    versions = tmp_path / "versions"
    killed = subprocess.run([sys.executable, "-c", KILLED, versions], env={**os.environ, "PYTHONPATH": str(REPO)})
    assert killed.returncode == -signal.SIGKILL
    name = find_record(Path("photos"), "HEAD").md5.removesuffix(".dir")
    assert not (versions / name).exists()
    assert content(checkout(Path("photos"), "HEAD", versions)) == content(tracked / "photos")
    assert sorted(path.name for path in versions.iterdir()) == [f".lock-{name}", name]


def test_a_track_that_is_killed_takes_no_file_away(project, capsys):
    for n in range(200):
        (project / "photos" / f"note-{n}.txt").write_text(str(n))
    wanted = content(project / "photos")
    process = subprocess.Popen(
        [sys.executable, "-m", "hakka", "data", "track", "photos"],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        stderr=subprocess.PIPE,
    )
    objects = project / ".dvc" / "cache" / "files" / "md5"
    while process.poll() is None and (not objects.is_dir() or len(list(objects.iterdir())) < 20):
        pass
    for dvc in psutil.Process(process.pid).children():
        dvc.kill()
    assert b"was ended by signal 9" in process.communicate()[1]
    assert content(project / "photos") == wanted
    code, out, err = hakka(capsys, "track", "photos", "--commit", "--json")
    assert not err
    assert (code, json.loads(out)["files"]) == (0, len(wanted))
    assert len(list_versions(Path("photos"))) == 1


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_cannot_have_versions_and_nobody_waits_for_it(project, capsys, make):
    make(project / "photos" / "z.jpg")
    code, _, err = hakka(capsys, "track", "photos")
    assert code == 2
    assert "z.jpg: only files can have versions" in err


def test_a_remote_that_was_named_is_that_of_every_clone(project, tmp_path, capsys):
    assert hakka(capsys, "track", "photos", "--commit")[0] == 0  # with the remote of this machine
    store = tmp_path / "share"
    code, _, err = hakka(capsys, "track", "photos", "--remote", str(store), "--json")
    assert (code, err) == (0, "")
    subprocess.run(["git", "commit", "--quiet", "--all", "--message", "remote"], check=True, cwd=project)
    assert hakka(capsys, "push")[0] == 0
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", project, clone], check=True)
    run_dvc(["pull"], clone)
    assert content(clone / "photos") == content(project / "photos")


def test_repro_makes_the_bytes_of_the_command_line(tmp_path, monkeypatch):
    """The data part of the pipeline, in a copy of this repository where only ``data`` was given another folder."""
    for name in ("hakka", "checks", "params.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        copy = shutil.copytree if (REPO / name).is_dir() else shutil.copyfile
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(REPO / name, tmp_path / name)
    (tmp_path / "dvc.yaml").write_text((REPO / "dvc.yaml").read_text().replace("data: sample", "data: photos"))
    (tmp_path / ".gitignore").write_text("/build/\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hakka").write_text(f'#!/bin/sh\nexec {sys.executable} -m hakka "$@"\n')
    (tmp_path / "bin" / "hakka").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    write_photos(tmp_path / "photos", {n: [8, 8, 30 + n, 16] for n in range(40)})
    git = ["git", "-C", str(tmp_path)]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    run_dvc(["repro"], tmp_path)
    assert main(["convert", str(tmp_path / "photos"), "--out", str(tmp_path / "build" / "again")]) == 0
    made, again = (content(tmp_path / name) for name in ("build/dataset", "build/again"))
    assert made == again
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "first"], check=True)
    metrics = json.loads(run_dvc(["metrics", "show", "--json"], tmp_path))[""]["data"]
    assert metrics["build/dataset/report.json"]["data"]["images"]["converted"] == 40
    assert metrics["build/validation/report.json"]["data"]["errors"] == 0
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text().replace("val: 0.15 ", "val: 0.25 "))
    assert json.loads(run_dvc(["params", "diff", "--json"], tmp_path)) == {
        "params.yaml": {"split.val": {"old": 0.15, "new": 0.25, "diff": 0.1}}
    }
    run_dvc(["repro", "convert"], tmp_path)
    changes = json.loads(run_dvc(["metrics", "diff", "--json"], tmp_path))["build/dataset/report.json"]
    assert changes["splits.val.images"]["diff"] > 0


def test_dvc_says_nothing_to_the_outside_and_its_remote_is_local():
    config = configparser.ConfigParser()
    config.read(REPO / ".dvc" / "config")
    assert config["core"]["analytics"] == config["core"]["check_update"] == "false"
    assert config["'remote \"local\"'"]["url"] == "../.dvc-storage"
    assert ".dvc-storage/" in (REPO / ".gitignore").read_text().split()


def test_the_stages_call_the_command_line_with_what_they_depend_on():
    pipeline = yaml.safe_load((REPO / "dvc.yaml").read_text())
    stages = pipeline["stages"]
    params = yaml.safe_load((REPO / "params.yaml").read_text())
    for name, stage in stages.items():
        assert stage["cmd"].startswith(f"hakka {name} ")
        assert "${data}" in stage["deps"]
        assert all(section in params for section in stage["params"])
        folders = [part if part.endswith("dataset") else str(Path(part).parent) for part in stage["outs"]]
        assert all(folder in stage["cmd"].split() for folder in folders)
    assert stages["convert"]["outs"][0] in stages["validate"]["deps"]
    assert (REPO / pipeline["vars"][0]["data"]).is_dir()
