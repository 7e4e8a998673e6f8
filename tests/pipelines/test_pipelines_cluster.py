"""What the training step asks of a cluster, in the compiled pipeline."""

import yaml
from kfp import compiler, dsl

from pipelines.cluster import ClusterParams, give_compute


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
