"""What Prometheus reads, and that the dashboard and the alerts ask for names that exist."""

import json
import re

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from hakka.registry import promote
from tests.serving.server import ROOT, running_server
from tests.serving.test_serving_process import wait_for
from tests.serving.tiny_model import FOUND, build_model_folder, register_model

PREDICT = "/v1/models/hakka:predict"
INFER = "/v2/models/hakka/infer"
MONITORING = ROOT / "manifests" / "components" / "monitoring"
NAME = re.compile(r"\b(?:hakka|process|request)_[a-z_]+")
# What other programs export.
FOREIGN = {"kube_job_status_failed", "up"}


@pytest.fixture(scope="module")
def served(tmp_path_factory, photo_b64):
    """A server with a log and two versions, after some traffic; its registry and the second version."""
    folder = tmp_path_factory.mktemp("metrics")
    registry = folder / "registry"
    old = register_model(build_model_folder(folder / "old"), registry)
    new = register_model(build_model_folder(folder / "new", FOUND[:1]), registry)
    promote(registry, old)
    with running_server("--registry", registry, "--log", folder / "log", "--max-body-mib", "1") as server:
        v2 = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [photo_b64]}]}
        with httpx.Client(base_url=server.url) as client:
            for _ in range(3):
                assert client.post(INFER, json=v2).status_code == 200
            both = {"instances": [{"image": {"b64": photo_b64}}] * 2}
            assert client.post(PREDICT, json=both).status_code == 200
            assert client.post(PREDICT, json={"instances": []}).status_code == 400
            assert client.post(INFER, content=b"x" * (1 << 21)).status_code == 413
            yield client, registry, old, new


def samples(client: httpx.Client) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample by name and label values, in the order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_traffic_is_counted(served):
    client, _, version, _ = served
    found = samples(client)
    requests = found["hakka_requests_total"]
    assert {key: value for key, value in requests.items() if value} == {
        ("ok", "v1"): 1,
        ("ok", "v2"): 3,
        ("refused", "v1"): 1,
        ("refused", "v2"): 1,
    }
    assert found["hakka_request_seconds_count"] == {("v1",): 1, ("v2",): 3, ("grpc",): 0}
    for stage in ("decode", "queue", "infer"):
        assert found["hakka_stage_seconds_count"][(stage,)] == 5
    assert found["hakka_stage_seconds_count"][("encode",)] == 4
    assert found["hakka_detections_total"] == {("apple",): 5, ("banana",): 5}
    assert found["hakka_confidence_count"] == {(): 10}
    assert found["hakka_confidence_sum"][()] == pytest.approx(5 * (0.9 + 0.6))
    below = found["hakka_confidence_bucket"]
    assert [below[(edge,)] for edge in ("0.55", "0.65", "0.85", "0.95", "+Inf")] == [0, 5, 5, 10, 10]
    assert found["hakka_refused_total"][("too_large",)] == 1
    assert found["hakka_refused_total"][("bad_request",)] == 1
    assert found["hakka_queue_depth"] == {(): 0}
    assert found["hakka_inflight"] == {(): 0}
    assert found["hakka_batch_size"] == {(): 1}
    assert [labels[-1] for labels in found["hakka_model_info"]] == [version]
    assert found["hakka_log_rows_dropped_total"] == {(): 0}


def queries() -> list[str]:
    """Every query of the dashboard and of the alerts."""
    board = json.loads((MONITORING / "dashboard.json").read_text())
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return [
        *(target["expr"] for panel in board["panels"] for target in panel["targets"]),
        *(note["expr"] for note in board["annotations"]["list"]),
        *(variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query"),
        *(rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]),
    ]


def test_every_name_in_a_query_exists_and_every_own_name_is_shown(served):
    client, *_ = served
    exported = set(samples(client))
    asked = {name for query in queries() for name in NAME.findall(query)}
    assert asked <= exported
    own = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exported if name.startswith("hakka_")}
    assert own - {"hakka_requests", "hakka_refused", "hakka_log_rows_written", "hakka_log_rows_dropped"} == {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in asked if name.startswith("hakka_")
    }
    named = {name for query in queries() for name in re.findall(r"\b([a-z_]+)\{", query)}
    assert named - exported == FOREIGN


def test_labels_in_queries_exist(served):
    client, *_ = served
    known = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            known.setdefault(sample.name, {"namespace", "pod", "job"}).update(sample.labels)
    for query in queries():
        for name, matchers in re.findall(r"\b(hakka_[a-z_]+)\{([^}]*)\}", query):
            assert set(re.findall(r"([a-z_]+)=", matchers)) <= known[name], query
        for labels in re.findall(r"by \(([^)]*)\)", query):
            for name in set(NAME.findall(query)):
                assert {label.strip() for label in labels.split(",")} <= known[name], query


def test_a_switch_leaves_one_version(served):
    client, registry, _, new = served
    promote(registry, new)
    wait_for(lambda: new in client.get("/v2/models/hakka").text)
    assert [labels[-1] for labels in samples(client)["hakka_model_info"]] == [new]
