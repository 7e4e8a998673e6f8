"""What the training step asks of a cluster, in the compiled pipeline."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl

from hakka.errors import InvalidInput
from pipelines.cluster import ClusterParams, check_device, give_compute

ROOT = Path(__file__).resolve().parents[2]


@dsl.component(base_image="python", install_kfp_package=False)
def train() -> None:
    """Nothing."""


def compiled(tmp_path, **params):
    """A task in a loop, where trainings stand, and its Kubernetes part."""

    @dsl.pipeline(name="one")
    def one() -> None:
        with dsl.ParallelFor(["a"]):
            give_compute(train(), ClusterParams(**params))

    compiler.Compiler().compile(one, str(tmp_path / "one.yaml"))
    spec, platform = yaml.safe_load_all((tmp_path / "one.yaml").read_text())
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    return spec["components"]["comp-for-loop-2"]["dag"]["tasks"]["train"], kubernetes


def test_the_params_decide_where_and_how_often_and_how_long_training_runs(tmp_path):
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    task, kubernetes = compiled(
        tmp_path, node_selector={"pool": "gpu"}, tolerations=[toleration], retries=3, deadline_minutes=90
    )
    assert task["retryPolicy"]["maxRetryCount"] == 3
    assert int(task["retryPolicy"]["backoffMaxDuration"].removesuffix("s")) >= 4 * 90 * 60, "Argo's limit for all tries"
    assert kubernetes["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert kubernetes["tolerations"] == [toleration]
    assert kubernetes["activeDeadlineSeconds"] == "5400"
    assert kubernetes["emptyDirMounts"][0]["medium"] == "Memory"


def test_by_default_nothing_of_it_is_asked(tmp_path):
    task, kubernetes = compiled(tmp_path)
    assert "retryPolicy" not in task
    assert set(kubernetes) == {"emptyDirMounts"}


@pytest.mark.parametrize(("device", "gpus"), [("0", 0), ("0,1", 1), ("1", 1), ("0,2", 2), ("mps", 0), ("mps", 1)])
def test_a_device_that_a_training_would_not_find_is_one_sentence(device, gpus):
    words = f"train.device must be auto, cpu or numbers below cluster.gpus, which is {gpus}, got '{device}'"
    with pytest.raises(InvalidInput, match=f"^{re.escape(words)}$"):
        check_device(device, ClusterParams(gpus=gpus))


@pytest.mark.parametrize(
    ("device", "gpus", "used"),
    [
        *(("auto", 0, None), ("cpu", 0, None), ("auto", 1, None), ("0", 1, None), ("1,0", 2, None), ("0,1,2", 3, None)),
        *(("cpu", 1, 0), ("auto", 2, 1), ("1", 2, 1), ("0,1", 4, 2)),
    ],
)
def test_gpus_that_would_stay_idle_are_a_warning(device, gpus, used, caplog):
    check_device(device, ClusterParams(gpus=gpus))
    words = f"a training uses {used} of the {gpus} GPUs of cluster.gpus: train.device is {device}"
    assert caplog.messages == ([] if used is None else [words])


def test_compile_looks_at_the_device_of_params_yaml_too(tmp_path):
    for package in ("hakka", "components", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "cutouts"))
    params, count = re.subn(r"(?m)^  device: auto ", "  device: 0,1 ", (ROOT / "params.yaml").read_text())
    assert count == 1
    (tmp_path / "params.yaml").write_text(params)
    command = [sys.executable, "-m", "pipelines", "compile", "--out", "pipeline.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    rule = "train.device must be auto, cpu or numbers below cluster.gpus, which is 0, got '0,1'"
    assert done.stderr == f"error: {rule}\n"
    assert not (tmp_path / "pipeline.yaml").exists()
