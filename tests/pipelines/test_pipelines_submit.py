"""submit and schedule against a real HTTP server that speaks their part of the API, through kfp's own client."""

import json
import socket

import pytest
from kfp_endpoint import Endpoint

from hakka.errors import InvalidInput
from pipelines.__main__ import main
from pipelines.compiling import compile_training
from pipelines.submit import read_list


@pytest.fixture
def endpoint(monkeypatch, tmp_path):
    monkeypatch.delenv("HAKKA_KFP_TOKEN", raising=False)
    server = Endpoint()
    yield server
    server.shutdown()
    server.server_close()


def test_submit_uploads_the_pipeline_and_starts_a_run_with_typed_parameters(endpoint, capsys):
    code = main(["submit", "--host", endpoint.url, "--param", "data=/d", "--param", "epochs=3", "--json"])
    assert code == 0
    answer = json.loads(capsys.readouterr().out)
    [run] = endpoint.runs
    assert run["runtime_config"]["parameters"] == {"data": "/d", "epochs": 3}
    assert run["pipeline_version_reference"] == {
        "pipeline_id": answer["pipeline"],
        "pipeline_version_id": answer["version"],
    }
    assert run["experiment_id"] == endpoint.experiments[0]["experiment_id"]
    assert endpoint.experiments[0]["display_name"] == "hakka"
    assert endpoint.versions[0]["document"].strip() == compile_training().strip()
    assert answer["page"] == f"{endpoint.url}/#/runs/details/{answer['run']}"


def test_variants_and_a_budget_travel_as_a_list_and_a_number(endpoint, tmp_path):
    (tmp_path / "v.yaml").write_text("- {imgsz: 320}\n- {imgsz: 416, precision: int8}\n")
    given = ("--param", f"variants={tmp_path / 'v.yaml'}", "--param", "latency_budget_ms=12.5", "--param", "trials=4")
    assert main(["submit", "--host", endpoint.url, *given]) == 0
    assert endpoint.runs[0]["runtime_config"]["parameters"] == {
        "variants": [{"imgsz": 320}, {"imgsz": 416, "precision": "int8"}],
        "latency_budget_ms": 12.5,
        "trials": 4,
    }


def test_a_second_submit_uploads_nothing_again(endpoint):
    for _ in range(2):
        assert main(["submit", "--host", endpoint.url, "--experiment", "noodles"]) == 0
    assert [len(kept) for kept in (endpoint.pipelines, endpoint.versions, endpoint.experiments)] == [1, 1, 1]
    assert len(endpoint.runs) == 2
    assert endpoint.runs[0]["display_name"] != endpoint.runs[1]["display_name"]


def test_schedule_makes_a_recurring_run(endpoint, capsys):
    assert main(["schedule", "--host", endpoint.url, "--cron", "0 0 3 * * 1", "--param", "seed=7"]) == 0
    assert main(["submit", "--host", endpoint.url, "--service-account", "hakka-pipeline"]) == 0
    assert endpoint.runs[0]["service_account"] == "hakka-pipeline"
    [schedule] = endpoint.schedules
    assert schedule["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 1"
    assert schedule["runtime_config"]["parameters"] == {"seed": 7}
    assert (schedule["max_concurrency"], schedule["no_catchup"]) == (1, True)
    assert "recurring_run_id-1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit", "--param", "epochs=many"], "epochs: must be a whole number, got 'many'"),
        (["submit", "--param", "epoch=3"], "got 'epoch=3'"),
        (["submit", "--param", "epochs"], "must be name=value"),
        (["submit", "--param", "latency_budget_ms=fast"], "latency_budget_ms: must be a number, got 'fast'"),
        (["submit", "--param", "variants=two"], "variants: must be a list, or a JSON or YAML file with one, got 'two'"),
        (["submit", "--param", "variants=[{size: 320}]"], "variants, entry 1: 'size' is not a setting"),
        (["submit", "--param", "device=0,1"], "cluster.gpus, which is 0, got '0,1'"),
        (["schedule", "--cron", "0 0 3 * * 1", "--param", "device=0"], "cluster.gpus, which is 0, got '0'"),
        (["schedule", "--cron", "daily"], "must have six fields"),
        (["submit", "--param", "target=forbidden"], "403 the service account may not run this"),
    ],
)
def test_a_bad_request_is_one_sentence(endpoint, capsys, arguments, words):
    assert main([*arguments, "--host", endpoint.url]) == 2
    assert_one_sentence(capsys, words)


def test_a_host_without_an_answer_is_one_sentence(capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{unused.getsockname()[1]}"
    assert main(["submit", "--host", host]) == 2
    assert_one_sentence(capsys, f"{host}: Kubeflow Pipelines must answer there")


def test_a_host_that_is_no_address_is_one_sentence(capsys):
    assert main(["submit", "--host", "ml-pipeline:8888"]) == 2
    assert_one_sentence(capsys, "must start with http:// or https://, got 'ml-pipeline:8888'")


def test_a_token_comes_from_the_environment(capsys, monkeypatch):
    guarded = Endpoint(token="let-me-in")
    try:
        monkeypatch.delenv("HAKKA_KFP_TOKEN", raising=False)
        assert main(["submit", "--host", guarded.url]) == 2
        assert_one_sentence(capsys, "answered 401; set HAKKA_KFP_TOKEN")
        monkeypatch.setenv("HAKKA_KFP_TOKEN", "let-me-in")
        assert main(["submit", "--host", guarded.url]) == 0
        assert len(guarded.runs) == 1
    finally:
        guarded.shutdown()
        guarded.server_close()


def assert_one_sentence(capsys, words):
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert words in error[0]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 900,
        "{}",
        "[{a: &x {b: *x}}]",
        "[" + "9" * 5000 + "]",
        "x" * 100_000,
        "- " * 50_000,
        "[{imgsz: &a [1, 1]}, {imgsz: *a}]",
        "~nobody-here/v.yaml",
    ],
)
def test_a_list_made_to_hurt_is_one_short_sentence(text):
    with pytest.raises(InvalidInput, match="variants: must be a list") as caught:
        read_list(text, "variants")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        '[{"imgsz": 64, "imgsz": 96}]',
        "[{imgsz: 64, 'imgsz': 64}]",
        '[{}, {"augment": {"scale": 1, "imgsz": 1, "imgsz": 2}}]',
    ],
)
def test_a_key_that_comes_twice_is_said_and_not_dropped(text, tmp_path):
    (tmp_path / "variants.yaml").write_text(text)
    for given in (text, str(tmp_path / "variants.yaml")):
        with pytest.raises(
            InvalidInput, match=r"variants: a key must come once in a mapping, got 'imgsz' again in line 1"
        ):
            read_list(given, "variants")
