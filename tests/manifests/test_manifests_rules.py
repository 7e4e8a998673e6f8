"""What Hakka asks of its own manifests beyond their schemas."""

import re

import pytest
import yaml

from hakka import images
from tests.manifests.conftest import MANIFESTS
from tests.manifests.custom_resources import fields


def pods(resources: list[dict]) -> dict[str, dict]:
    """Every pod spec by ``kind/name``."""
    places = {
        "Deployment": lambda spec: spec["template"]["spec"],
        "CronJob": lambda spec: spec["jobTemplate"]["spec"]["template"]["spec"],
        "InferenceService": lambda spec: spec["predictor"],
    }
    return {
        f"{r['kind']}/{r['metadata']['name']}": places[r["kind"]](r["spec"]) for r in resources if r["kind"] in places
    }


def only(resources: list[dict], kind: str, name: str = "hakka") -> dict:
    (found,) = [r for r in resources if r["kind"] == kind and r["metadata"]["name"] == name]
    return found


def test_every_part_has_its_pod(resources):
    assert set(pods(resources)) == {"Deployment/hakka-app", "CronJob/hakka-monitor", "InferenceService/hakka"}


def test_pods_are_restricted(resources):
    for place, pod in pods(resources).items():
        assert pod["automountServiceAccountToken"] is False, place
        assert pod["securityContext"]["runAsNonRoot"] is True, place
        assert pod["securityContext"]["runAsUser"] > 0, place
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, place
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, place
            assert set(container["resources"]["limits"]) == {"cpu", "memory"}, place
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}, place


def test_the_namespace_enforces_the_restricted_standard(resources):
    labels = only(resources, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_everything_is_in_the_namespace(resources):
    outside = {r["kind"] for r in resources if r["metadata"].get("namespace") != "hakka"}
    assert outside == {"Namespace"}


def test_volumes_and_accounts_that_pods_name_exist(resources):
    claims = {r["metadata"]["name"] for r in resources if r["kind"] == "PersistentVolumeClaim"}
    accounts = {r["metadata"]["name"] for r in resources if r["kind"] == "ServiceAccount"}
    for place, pod in pods(resources).items():
        assert pod["serviceAccountName"] in accounts, place
        named = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
        assert named <= claims, place
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}, place


def test_images_are_those_of_the_code(resources):
    used = {container["image"] for pod in pods(resources).values() for container in pod["containers"]}
    assert used == {images.SERVE_IMAGE, images.APP_IMAGE, images.MONITOR_IMAGE}


def test_an_image_is_named_once():
    texts = "".join(path.read_text() for path in MANIFESTS.rglob("*.yaml"))
    for image in (images.SERVE_IMAGE, images.APP_IMAGE, images.MONITOR_IMAGE):
        assert len(re.findall(re.escape(image.rpartition(":")[0]) + r"\b", texts)) == 1


def test_no_wildcard_in_any_right(resources):
    rules = [rule for r in resources if r["kind"] in ("Role", "ClusterRole") for rule in r["rules"]]
    assert rules
    assert "*" not in [value for rule in rules for values in rule.values() for value in values]
    assert not any(r["kind"] in ("ClusterRole", "ClusterRoleBinding") for r in resources)


def test_the_pipeline_may_read_and_patch_the_one_service_and_nothing_else(resources):
    rules = [rule for r in resources if r["kind"] == "Role" for rule in r["rules"]]
    assert rules == [
        {
            "apiGroups": ["serving.kserve.io"],
            "resources": ["inferenceservices"],
            "resourceNames": [only(resources, "InferenceService")["metadata"]["name"]],
            "verbs": ["get", "patch"],
        }
    ]
    bound = [subject["name"] for r in resources if r["kind"] == "RoleBinding" for subject in r["subjects"]]
    assert bound == ["hakka-pipeline"]


def test_standard_mode_and_none_of_what_it_ignores(resources):
    service = only(resources, "InferenceService")
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert "canaryTrafficPercent" not in service["spec"]["predictor"]  # valid, accepted, and without any effect
    assert service["spec"]["predictor"]["minReplicas"] >= 1  # there is no scale from zero in this mode


def test_the_predictor_allows_a_canary(resources):
    """KServe's webhook refuses spec.canary unless the stable predictor names its storage."""
    (container,) = only(resources, "InferenceService")["spec"]["predictor"]["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert container["name"] == "kserve-container"
    assert environment["STORAGE_URI"] == "pvc://hakka-home"


def test_the_predictors_arguments_are_taken_by_the_server(resources):
    from hakka.settings import read_settings
    from serving.options import read_options

    (container,) = only(resources, "InferenceService")["spec"]["predictor"]["containers"]
    assert container["command"] == ["python", "-m", "serving"]
    options = read_options(container["args"], read_settings({"HAKKA_HOME": "/var/lib/hakka"}))
    assert (str(options.registry), options.channel) == ("/mnt/models/registry", "champion")
    assert (options.host, options.port) == ("0.0.0.0", container["ports"][0]["containerPort"])


def test_traffic_is_denied_unless_a_policy_names_it(resources):
    policies = {r["metadata"]["name"]: r["spec"] for r in resources if r["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        for rule in policy.get("ingress", []):
            assert rule.get("from"), f"{name} lets everybody in"
            assert rule.get("ports"), f"{name} opens every port"


def test_selectors_find_pods(resources):
    labels = [r["spec"]["template"]["metadata"]["labels"] if r["kind"] == "Deployment" else {} for r in resources] + [
        r["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] for r in resources if r["kind"] == "CronJob"
    ]
    labels += [{"serving.kserve.io/inferenceservice": "hakka"}]  # set by KServe on every pod of the service
    labels += [{"pipelines.kubeflow.org/v2_component": "true"}]  # set by Kubeflow Pipelines on every pod of a run
    for resource in resources:
        if resource["kind"] in ("NetworkPolicy", "PodMonitor", "PodDisruptionBudget", "Service"):
            spec = resource["spec"]
            selector = spec.get("podSelector") or spec.get("selector") or {}
            wanted = selector.get("matchLabels", selector).items()
            assert any(wanted <= have.items() for have in labels), resource["metadata"]["name"]


def test_the_app_asks_the_service_that_kserve_makes(resources):
    (container,) = pods(resources)["Deployment/hakka-app"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert (
        environment["HAKKA_ENDPOINT"] == f"http://{only(resources, 'InferenceService')['metadata']['name']}-predictor"
    )


def test_every_component_is_used_by_an_overlay():
    used = set()
    for path in MANIFESTS.glob("overlays/*/kustomization.yaml"):
        used |= {(path.parent / c).resolve() for c in yaml.safe_load(path.read_text()).get("components", [])}
    assert used == {path.parent.resolve() for path in MANIFESTS.glob("components/*/kustomization.yaml")}


@pytest.mark.parametrize("word", ["password", "token", "secret"])
def test_no_secret_in_the_manifests(resources, word):
    found = [place for place, value in fields(resources) if isinstance(value, str) and word in value.lower()]
    assert found == []
