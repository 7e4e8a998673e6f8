"""The look at the images in shards, as kfp runs it here: real components, real processes."""

import logging
import os
import warnings
from collections import Counter
from pathlib import Path

import pytest
from kfp import dsl
from kfp.local import logging_utils

from components import convert_annotations, prepare_data, validate_dataset
from hakka.data.sample import write_sample
from hakka.files import read_json
from pipelines import worker
from pipelines.progress import Progress
from pipelines.training import scan_in_shards

ROOT = Path(__file__).resolve().parents[2]


@dsl.pipeline(name="data-part")
def data_part(data: str, data_revision: str, shards: int) -> dsl.Dataset:
    """The steps of the training pipeline from the photos to the checks."""
    prepared = prepare_data(data=data, data_revision="").set_caching_options(enable_caching=False)
    source = {"data": prepared.outputs["folder"], "data_revision": data_revision}
    scans = scan_in_shards(**source, annotation_format="auto", shards=shards).output
    converted = convert_annotations(**source, annotation_format="auto", scans=scans)
    validate_dataset(data=data, source=data, dataset=converted.outputs["dataset"], scans=scans)
    return converted.outputs["dataset"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_sample(folder, images=12, size=96)
    return folder


@pytest.fixture
def run(photos, tmp_path, monkeypatch):
    """Run the data part; gives its folder, what a person saw, and the progress."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HAKKA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(logging_utils, "indented_print", logging_utils.indented_print)  # put back afterwards
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", root.level)

    def start(shards, revision="r1"):
        folder, seen = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}", []
        folder.mkdir()
        arguments = {"data": str(photos), "data_revision": revision, "shards": shards}
        with (folder / "log.txt").open("w") as log, warnings.catch_warnings():
            progress = Progress(log, seen.append)
            try:
                worker.run_here(data_part, arguments, folder, tmp_path / "cache", tmp_path / "scratch", progress)
            except RuntimeError:
                assert progress.failure is not None
        return folder, seen, progress

    return start


def content(folder):
    """The bytes of a file, or of every file of a folder by its name."""
    files = [path for path in folder.rglob("*") if path.is_file()] or [folder]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def only(folder, pattern):
    [found] = folder.glob(f"pipeline/*/{pattern}")
    return found


def states(progress):
    return Counter((step.name, step.state) for step in progress.steps)


def test_three_shards_give_the_bytes_of_one_and_the_same_verdict(run):
    one, _, _ = run(1)
    three, seen, progress = run(3)
    for name in ("dataset", "report"):
        assert content(only(three, f"convert-annotations/{name}")) == content(only(one, f"convert-annotations/{name}"))
    verdicts = [read_json(only(folder, "validate-dataset/validation/report.json")) for folder in (one, three)]
    assert verdicts[0] == verdicts[1]
    for number in (1, 2, 3):
        assert f"scan {number}/3: started" in seen
        assert states(progress)[f"scan {number}/3", "done"] == 1


def test_every_shard_is_reused_while_the_data_is_the_same(run):
    run(2)
    _, seen, progress = run(2)
    assert states(progress)["scan", "reused"] == 2
    assert seen.count("scan: reused from an earlier run") == 1
    _, _, progress = run(2, revision="r2")
    assert {state for _, state in states(progress)} == {"done"}


FULL_DISK = """
import errno, os, sys

def refuse(handle):
    raise OSError(errno.ENOSPC, "No space left on device")

if '"shard": "2/3"' in " ".join(sys.orig_argv):
    os.fsync = refuse
"""


def test_a_shard_that_fails_ends_the_run_in_one_sentence(run, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(FULL_DISK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    _, seen, progress = run(3)
    assert progress.failure.exit_code == 2
    assert progress.failure.sentence.startswith("step scan 2/3 failed: OSError: [Errno 28] No space left on device")
    assert not [line for line in seen if line.startswith("convert")]
