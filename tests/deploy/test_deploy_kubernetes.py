"""The verbs of hakka.deploy.kubernetes through the real client, against an API server over HTTP."""

import copy
import json

import pytest

from hakka.deploy import deploy, kubernetes
from hakka.errors import InvalidInput, NotFound, Unavailable
from tests.deploy.cluster import Cluster, api_server
from tests.manifests.conftest import MANIFESTS, build

OLD, NEW = "0123456789ab", "ba9876543210"
FOLDER = "/mnt/models/registry/versions"


@pytest.fixture(scope="session")
def service():
    """The InferenceService of the base, as ``kubectl apply -k`` sends it."""
    return next(resource for resource in build(MANIFESTS / "base") if resource["kind"] == "InferenceService")


@pytest.fixture
def cluster(service, tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # a read is what makes the cluster go on
    cluster = Cluster(service)
    with api_server(cluster, tmp_path / "config") as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
        yield cluster


def spec(cluster: Cluster) -> dict:
    return cluster.stored["spec"]


def canaries(cluster: Cluster) -> list[tuple[str, int, list[str]]]:
    """Name, traffic and last two arguments of each canary."""
    entries = spec(cluster).get("canary", [])
    return [
        (e["predictor"]["name"], e["trafficPercent"], e["predictor"]["containers"][0]["args"][-2:]) for e in entries
    ]


def test_deploy_pins_the_version_and_changes_nothing_else(cluster, service):
    assert kubernetes.deploy(NEW) == "serving"
    expected = copy.deepcopy(service["spec"])
    args = expected["predictor"]["containers"][0]["args"]
    assert args[-2:] == ["--channel", "champion"]
    args[-2:] = ["--model-dir", f"{FOLDER}/{NEW}"]
    assert spec(cluster) == expected


def test_deploy_waits_until_no_pod_serves_the_old_version(cluster):
    kubernetes.deploy(NEW)
    assert cluster.served[-2:] == ["--model-dir", f"{FOLDER}/{NEW}"]


def test_deploy_of_what_is_deployed_returns_at_once(cluster):
    kubernetes.deploy(NEW)
    before = cluster.deployment
    assert kubernetes.deploy(NEW) == "serving"
    assert cluster.deployment == before


def test_a_deploy_that_was_given_up_is_waited_for_by_the_next(cluster):
    cluster.stuck = True
    with pytest.raises(Unavailable):
        kubernetes.deploy(NEW, deadline=0.1)
    with pytest.raises(Unavailable):
        kubernetes.deploy(NEW, deadline=0.1)
    cluster.stuck = False
    assert kubernetes.deploy(NEW) == "serving"
    assert cluster.served[-1] == f"{FOLDER}/{NEW}"


def test_a_later_version_takes_the_place_of_an_earlier_one(cluster):
    kubernetes.deploy(OLD)
    kubernetes.deploy(NEW)
    assert cluster.served.count("--model-dir") == 1
    assert cluster.served[-1] == f"{FOLDER}/{NEW}"


def test_deploy_that_is_stuck_says_so_at_the_deadline(cluster):
    cluster.stuck = True
    with pytest.raises(Unavailable, match=rf"hakka/hakka: version {NEW} must be there within 0.3 s"):
        kubernetes.deploy(NEW, deadline=0.3)


def test_a_foreign_change_in_between_is_kept(cluster):
    cluster.intruders = 2
    assert kubernetes.deploy(NEW) == "serving"
    assert len(cluster.patches) == 1


def test_endless_foreign_changes_end(cluster):
    cluster.intruders = 1000
    with pytest.raises(Unavailable, match="changed by somebody else 5 times"):
        kubernetes.deploy(NEW)


def test_canary_gets_its_share_and_the_stable_one_stays(cluster, service):
    kubernetes.deploy(OLD)
    stable = copy.deepcopy(spec(cluster)["predictor"])
    assert kubernetes.canary(NEW, 20) == "canary"
    assert canaries(cluster) == [(f"v{NEW}", 20, ["--model-dir", f"{FOLDER}/{NEW}"])]
    assert spec(cluster)["predictor"] == stable
    assert cluster.stored["status"]["canaryStatuses"][0]["ready"]


def test_canary_traffic_grows(cluster):
    kubernetes.canary(NEW, 5)
    kubernetes.canary(NEW, 50)
    assert [(name, traffic) for name, traffic, _ in canaries(cluster)] == [(f"v{NEW}", 50)]


def test_promote_makes_the_canary_the_stable_one(cluster):
    kubernetes.deploy(OLD)
    kubernetes.canary(NEW, 20)
    assert kubernetes.promote() == NEW
    assert "canary" not in spec(cluster)
    assert "name" not in spec(cluster)["predictor"]  # the Service keeps its address
    assert cluster.served[-1] == f"{FOLDER}/{NEW}"


def test_rollback_gives_all_traffic_back(cluster):
    kubernetes.deploy(OLD)
    kubernetes.canary(NEW, 20)
    assert kubernetes.rollback() == OLD
    assert "canary" not in spec(cluster)
    assert "canaryStatuses" not in cluster.stored["status"]
    assert cluster.served[-1] == f"{FOLDER}/{OLD}"


def test_rollback_to_a_predictor_that_follows_the_channel(cluster):
    kubernetes.canary(NEW, 20)
    assert kubernetes.rollback() is None
    assert cluster.served[-2:] == ["--channel", "champion"]


@pytest.mark.parametrize("verb", [kubernetes.promote, kubernetes.rollback])
def test_without_a_canary_there_is_nothing_to_end(cluster, verb):
    with pytest.raises(NotFound, match="InferenceService hakka has no canary"):
        verb()
    assert cluster.patches == []


def test_a_predictor_without_storage_gets_no_canary(cluster):
    spec(cluster)["predictor"]["containers"][0]["env"] = []
    with pytest.raises(InvalidInput, match="canary requires a stable predictor with a model"):
        kubernetes.canary(NEW, 10)


@pytest.mark.parametrize("traffic", [-1, 101, 0.5, True, "10"])
def test_traffic_must_be_percent(cluster, traffic):
    with pytest.raises(InvalidInput, match="traffic must be a whole number of percent from 0 to 100"):
        kubernetes.canary(NEW, traffic)


@pytest.mark.parametrize("version", ["", "champion", "../../etc", "0123456789AB", f"{NEW}\n", f"{NEW}0"])
@pytest.mark.parametrize("verb", [kubernetes.deploy, lambda version: kubernetes.canary(version, 10)])
def test_a_version_is_twelve_hex_digits(cluster, verb, version):
    with pytest.raises(InvalidInput, match="version must be 12 hex digits"):
        verb(version)
    assert cluster.patches == []


def test_a_service_that_is_not_there(cluster):
    with pytest.raises(NotFound, match=r'InferenceService hakka/other: .*"other" not found'):
        kubernetes.deploy(NEW, name="other")


def test_a_namespace_that_is_not_ours(cluster):
    with pytest.raises(Unavailable, match=r"InferenceService default/hakka: .* cannot GET"):
        kubernetes.deploy(NEW, namespace="default")


def test_arguments_without_a_registry_are_not_guessed(cluster):
    spec(cluster)["predictor"]["containers"][0]["args"] = ["--channel", "champion"]
    with pytest.raises(InvalidInput, match="must hold --registry DIR"):
        kubernetes.deploy(NEW)


def test_a_service_of_another_make_is_refused(cluster):
    spec(cluster)["predictor"]["containers"][0]["name"] = "sidecar"
    with pytest.raises(InvalidInput, match="must have a container kserve-container"):
        kubernetes.deploy(NEW)


def test_no_server(tmp_path, monkeypatch, service):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with api_server(Cluster(service), tmp_path / "config") as config:
        monkeypatch.setenv("KUBECONFIG", str(config))
    with pytest.raises(Unavailable, match="the API server does not answer"):
        kubernetes.deploy(NEW)


def test_no_kubeconfig(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="no cluster to talk to"):
        kubernetes.deploy(NEW)


def test_target_kubernetes_is_the_same_verb(cluster):
    assert deploy(NEW, target="kubernetes") == "serving"
    assert cluster.served[-1] == f"{FOLDER}/{NEW}"


def test_a_pod_is_on_a_cluster(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(Unavailable, match="no cluster to talk to"):  # here no token of a pod is mounted
        deploy(NEW)


def test_patches_are_json(cluster):
    kubernetes.canary(NEW, 20)
    assert json.loads(json.dumps(cluster.patches)) == cluster.patches
