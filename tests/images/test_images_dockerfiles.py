"""What must hold of the Dockerfiles and workflows without building anything."""

import re
from pathlib import Path

import pytest
import yaml

from app.__main__ import _parse
from hakka import images
from hakka.cli import build_parser
from hakka.settings import read_settings
from serving.options import read_options

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted(ROOT.glob("Dockerfile.*"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NAMES = {images.TRAIN_IMAGE, images.SERVE_IMAGE, images.APP_IMAGE, images.MONITOR_IMAGE}
TARGETS = [
    ("Dockerfile.train", None),
    ("Dockerfile.serve", "predictor"),
    ("Dockerfile.serve", "app"),
    ("Dockerfile.serve", "monitor"),
]


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def stages(path: Path) -> dict[str | None, tuple[str, list[tuple[str, str]]]]:
    """Stage name -> (what it starts from, its instructions); the last stage is also None."""
    found: dict[str | None, tuple[str, list[tuple[str, str]]]] = {}
    for word, rest in instructions(path):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name or "last"] = found[None] = (base, [])
        elif found:
            found[None][1].append((word, rest))
    return found


def chain(path: Path, target: str | None) -> list[tuple[str, str]]:
    """All instructions that shape the image of a target, from its base on."""
    known = stages(path)
    base, own = known[target]
    return (chain(path, base) if base in known else []) + own


@pytest.mark.parametrize(("name", "target"), TARGETS)
def test_an_image_runs_as_a_user_that_is_not_root(name, target):
    users = [rest for word, rest in chain(ROOT / name, target) if word == "USER"]
    assert users == ["10001:10001"]  # a number: Kubernetes cannot tell by a name that it is not root


@pytest.mark.parametrize(("name", "target"), TARGETS)
def test_an_image_installs_exactly_its_lock(name, target):
    locks = {None: "train", "predictor": "serve", "app": "app", "monitor": "monitor"}
    libraries = stages(ROOT / name)["libraries" if target is None else f"{target}-libraries"][1]
    runs = " ".join(rest for word, rest in libraries if word == "RUN")
    assert f"--no-deps --require-hashes -r /requirements/{locks[target]}.txt" in runs
    own = " ".join(rest for word, rest in chain(ROOT / name, target) if word == "RUN")
    assert "pip install" not in own
    packages = re.findall(r"apt-get install --yes --no-install-recommends ([^&]*)", own)
    assert [name.strip() for name in packages] == (["git"] if target is None else [])
    assert own.count("apt-get install") == len(packages)


@pytest.mark.parametrize(("name", "target"), TARGETS)
def test_an_image_holds_no_pip_and_no_program_that_runs_as_another_user(name, target):
    own = [rest for word, rest in chain(ROOT / name, target) if word == "RUN"]
    removed = [index for index, run in enumerate(own) if "pip uninstall --yes" in run]
    cleared = [index for index, run in enumerate(own) if "-perm /6000 -exec chmod a-s" in run]
    installed = [index for index, run in enumerate(own) if "apt-get install" in run]
    assert len(removed) == len(cleared) == 1
    assert "import ensurepip" in own[removed[0]]  # it holds a pip, and makes an environment with one
    assert cleared > installed  # what was installed before is cleared too


@pytest.mark.parametrize("target", [target for name, target in TARGETS if name == "Dockerfile.serve"])
def test_an_environment_is_made_small_before_it_is_copied(target):
    runs = [rest for word, rest in stages(ROOT / "Dockerfile.serve")[f"{target}-libraries"][1] if word == "RUN"]
    assert runs[-1] == "sh /requirements/slim.sh /opt/hakka"


def start_command(target: str) -> list[str]:
    """What the image of a target starts."""
    (start,) = [rest for word, rest in chain(ROOT / "Dockerfile.serve", target) if word == "CMD"]
    return list(yaml.safe_load(start))


def test_the_predictors_command_is_taken_by_its_parser():
    *program, host, address = start_command("predictor")
    assert program == ["python", "-m", "serving"]
    assert read_options([host, address], read_settings({})).host == "0.0.0.0"


def test_the_apps_command_is_taken_by_its_parser():
    *program, host, address = start_command("app")
    assert program == ["python", "-m", "app"]
    assert _parse([host, address]).host == "0.0.0.0"


def test_the_watchs_command_is_taken_by_its_parser():
    *program, verb = start_command("monitor")
    assert program == ["python", "-m", "hakka"]
    assert build_parser().parse_args([verb]).run.__name__ == "run_monitor"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_bases_are_named_by_a_version(path):
    known = stages(path)
    (base,) = {rest for word, rest in instructions(path) if word == "ARG" and rest.startswith("BASE=")}
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.\d+-slim", base)
    assert {start for start, _ in known.values()} - set(known) == {"${BASE}"}
    assert "latest" not in path.read_text()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_in_the_context(path):
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [
        source
        for word, rest in instructions(path)
        if word == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in kept, source


@pytest.mark.parametrize("path", [*DOCKERFILES, *WORKFLOWS], ids=lambda path: path.name)
def test_image_names_are_those_of_the_code(path):
    assert set(re.findall(r"ghcr\.io/[\w./-]+:[\w.]+", path.read_text())) <= NAMES


def test_every_image_is_built_on_a_tag():
    document = yaml.safe_load((ROOT / ".github/workflows/images.yml").read_text())
    rows = document["jobs"]["image"]["strategy"]["matrix"]["include"]
    assert {getattr(images, row["constant"]) for row in rows} == NAMES
    assert [(row["file"], row["target"] or None) for row in rows] == TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_few_rights_and_named_actions(path):
    document = yaml.safe_load(path.read_text())
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert set(job.get("permissions", {}).items()) <= {("contents", "read"), ("packages", "write")}
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", step["uses"])
            # An expression in a script is text that somebody else may write; an environment variable is not.
            assert "${{" not in step.get("run", "")
    assert "secrets." not in path.read_text()


def test_ci_runs_what_a_person_runs():
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
