"""What an API server would say of the manifests, and that the check would notice a mistake."""

import copy

import kubernetes_validate
import pytest

from tests.manifests.conftest import MANIFESTS, OVERLAYS, build

CORE_GROUPS = ("v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1", "policy/v1")
KUBERNETES = ("1.32", "1.37")  # the oldest and the newest that Hakka is for


def is_core(resource: dict) -> bool:
    return resource["apiVersion"] in CORE_GROUPS


def find(resources: list[dict], kind: str) -> dict:
    return copy.deepcopy(next(resource for resource in resources if resource["kind"] == kind))


def test_the_overlays_are_there():
    assert {"overlays/kind", "overlays/production"} <= set(OVERLAYS)


@pytest.mark.parametrize("version", KUBERNETES)
def test_kinds_of_kubernetes_are_valid_in_strict_mode(resources, version):
    core = [resource for resource in resources if is_core(resource)]
    assert len(core) >= 10
    for resource in core:
        kubernetes_validate.validate(resource, version, strict=True)


def test_custom_resources_are_valid(resources, custom):
    others = [resource for resource in resources if not is_core(resource)]
    assert "InferenceService" in {resource["kind"] for resource in others}
    assert {f"{r['kind']} {r['metadata']['name']}": p for r in others if (p := custom.problems(r))} == {}


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_predictor_is_a_valid_pod(resources, version):
    predictor = find(resources, "InferenceService")["spec"]["predictor"]
    own = {"minReplicas", "maxReplicas"}  # KServe's own fields beside those of a pod
    spec = {key: value for key, value in predictor.items() if key not in own}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hakka"}, "spec": spec}
    kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_core_check_refuses_an_unknown_field(version):
    job = find(build(MANIFESTS / "base"), "CronJob")
    job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolice"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError, match="restartPolice"):
        kubernetes_validate.validate(job, version, strict=True)


def break_top(service):
    service["sepc"] = {}


def break_metadata(service):
    service["metadata"]["label"] = {}


def break_spec(service):
    service["spec"]["predictors"] = {}


def break_container(service):
    service["spec"]["predictor"]["containers"][0]["readynessProbe"] = {}


def break_in_a_list(service):
    service["spec"]["predictor"]["volumes"][0]["persistentVolumeClaim"]["claim"] = "x"


def break_a_type(service):
    service["spec"]["predictor"]["minReplicas"] = "one"


def break_a_required_field(service):
    service["spec"]["canary"] = [{"trafficPercent": 10}]


def break_a_limit(service):
    service["spec"]["canary"] = [{"trafficPercent": 101, "predictor": {"name": "v1"}}]


def break_int_or_string(service):
    service["spec"]["predictor"]["containers"][0]["readinessProbe"]["httpGet"]["port"] = [8080]


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (break_top, "sepc"),
        (break_metadata, "label"),
        (break_spec, "predictors"),
        (break_container, "readynessProbe"),
        (break_in_a_list, "claim"),
        (break_a_type, "minReplicas"),
        (break_a_required_field, "predictor"),
        (break_a_limit, "101"),
        (break_int_or_string, "port"),
    ],
)
def test_custom_check_refuses_a_mistake(custom, spoil, place):
    service = find(build(MANIFESTS / "base"), "InferenceService")
    assert custom.problems(service) == []
    spoil(service)
    problems = custom.problems(service)
    assert len(problems) == 1
    assert place in problems[0]


@pytest.mark.parametrize("port", [8080, "http1"])
def test_custom_check_takes_int_or_string(custom, port):
    service = find(build(MANIFESTS / "base"), "InferenceService")
    service["spec"]["predictor"]["containers"][0]["readinessProbe"]["httpGet"]["port"] = port
    assert custom.problems(service) == []


def test_custom_check_lets_free_fields_be_free(custom):
    version = {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": "PipelineVersion",
        "metadata": {"name": "a"},
        "spec": {"pipelineSpec": {"whatever": {"deep": 1}}},
    }
    assert custom.problems(version) == []
    version["spec"]["pipelineSpecs"] = {}
    assert len(custom.problems(version)) == 1


def test_custom_check_refuses_a_kind_that_it_does_not_know(custom):
    assert custom.problems({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceServer", "metadata": {}}) == [
        "there is no schema for serving.kserve.io/v1beta1 InferenceServer"
    ]
