"""The compiled pipeline: committed as the code gives it, readable in the dashboard, and right about caching."""

import pytest
import yaml

from hakka.images import TRAIN_IMAGE
from hakka.params import read_params
from pipelines.__main__ import main
from pipelines.compiling import COMPILED, compile_training, read_parameters


@pytest.fixture(scope="module")
def documents():
    return list(yaml.safe_load_all(compile_training()))


def named_tasks(spec):
    """Every task of the pipeline and its branches with its name; the loops of two branches share theirs."""
    dags = [spec["root"], *(part for part in spec["components"].values() if "dag" in part)]
    return [(name, task) for dag in dags for name, task in dag["dag"]["tasks"].items()]


def tasks(spec):
    """Every task of the pipeline and its branches by name."""
    return dict(named_tasks(spec))


def loops(spec):
    """The policy of each loop by the task whose list it goes through."""
    policies = {}
    for loop in (task for _, task in named_tasks(spec) if "parameterIterator" in task):
        items = loop["inputs"]["parameters"][loop["parameterIterator"]["items"]["inputParameter"]]
        assert items["taskOutputParameter"]["outputParameterKey"] == "Output"
        policies[items["taskOutputParameter"]["producerTask"]] = loop["iteratorPolicy"]
    return policies


def test_the_committed_file_is_what_the_code_gives():
    assert COMPILED.read_text() == compile_training(), "run: python -m pipelines compile"


def test_compile_writes_the_same_bytes_elsewhere(tmp_path, capsys):
    assert main(["compile", "--out", str(tmp_path / "p.yaml")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "p.yaml")
    assert (tmp_path / "p.yaml").read_text() == COMPILED.read_text()


def test_every_parameter_says_what_it_is_and_takes_its_default_from_params_yaml():
    parameters = read_parameters(COMPILED.read_text())
    assert all(parameter.get("description") for parameter in parameters.values())
    params = read_params()
    expected = {
        name: params["train"][name] for name in ("weights", "model", "epochs", "imgsz", "batch", "seed", "device")
    }
    variants = params["variants"]
    expected |= {"variants": variants["settings"], "latency_budget_ms": variants["latency_budget_ms"]}
    expected |= {"trials": params["search"]["trials"]}
    assert {name: parameters[name]["defaultValue"] for name in expected} == expected


def test_what_reads_or_changes_more_than_its_inputs_is_never_reused(documents):
    cached = {name for name, task in tasks(documents[0]).items() if task.get("cachingOptions", {}).get("enableCache")}
    assert cached == {
        "scan-in-shards",
        "list-images",
        "scan-images",
        "convert-annotations",
        "validate-dataset",
        "train-variants",
        "train-detector",
        "export-detector",
        "evaluate-detector",
        "choose-variant",
    }


def test_training_waits_for_the_checks_and_nothing_waits_for_tracking(documents):
    found = tasks(documents[0])
    assert "accept-dataset" in found["train-variants"]["dependentTasks"]
    assert not [name for name, task in found.items() if "track-run" in task.get("dependentTasks", [])]


def test_the_look_at_the_images_is_shared_out_over_steps_of_a_size_of_their_own(documents):
    found, cluster = tasks(documents[0]), read_params()["cluster"]
    assert loops(documents[0])["list-images"] == {"parallelismLimit": cluster["scans_at_once"]}
    for name in ("convert-annotations", "validate-dataset"):
        assert "scan-in-shards" in found[name]["dependentTasks"]
    asked = documents[0]["deploymentSpec"]["executors"]["exec-scan-images"]["container"]["resources"]
    assert (asked["resourceCpuLimit"], asked["resourceMemoryLimit"]) == (cluster["scan_cpus"], cluster["scan_memory"])


def test_the_variants_are_trained_side_by_side_and_one_is_chosen(documents):
    found = tasks(documents[0])
    assert loops(documents[0])["plan-or-search"] == {"parallelismLimit": read_params()["variants"]["at_once"]}
    collected = found["choose-variant"]["inputs"]["artifacts"]
    assert set(collected) == {"checkpoints", "models", "evaluations"}
    for name in ("decide-promotion", "promote-or-keep", "track-run"):
        assert "train-variants" in found[name]["dependentTasks"]


def test_only_a_search_plans_on_a_node_that_can_train(documents):
    branches = {
        next(iter(part["dag"]["tasks"])): task["triggerPolicy"]["condition"]
        for _, task in named_tasks(documents[0])
        if "triggerPolicy" in task
        for part in [documents[0]["components"][task["componentRef"]["name"]]]
    }
    assert branches["plan-variants"] == "int(inputs.parameter_values['pipelinechannel--trials']) == 0"
    assert branches["search-variants"] == f"!({branches['plan-variants']})"
    containers = documents[0]["deploymentSpec"]["executors"]
    asked = {
        name
        for name, executor in containers.items()
        if "resourceMemoryLimit" in executor["container"].get("resources", {})
    }
    assert asked == {"exec-scan-images", "exec-search-variants", "exec-train-detector"}


def test_steps_with_data_or_registry_get_the_volume_and_training_gets_shared_memory(documents):
    spec, platform = documents
    executors = spec["deploymentSpec"]["executors"]
    on_cluster = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    without = {"exec-decide-promotion"}
    assert set(on_cluster) == set(executors) - without
    for name in on_cluster:
        assert on_cluster[name]["pvcMount"][0]["mountPath"] == "/var/lib/hakka"
        assert {"name": "HAKKA_HOME", "value": "/var/lib/hakka"} in executors[name]["container"]["env"]
    shared_memory = {"medium": "Memory", "mountPath": "/dev/shm", "sizeLimit": "2Gi", "volumeName": "shared-memory"}
    training = {name for name in on_cluster if "emptyDirMounts" in on_cluster[name]}
    assert training == {"exec-train-detector", "exec-search-variants"}
    assert all(on_cluster[name]["emptyDirMounts"] == [shared_memory] for name in training)
    assert {executor["container"]["image"] for executor in executors.values()} == {TRAIN_IMAGE}
