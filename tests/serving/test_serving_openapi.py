"""The OpenAPI document is right: every route is in it, its examples work, and schemathesis finds nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import pytest

from tests.serving.server import ROOT, running_server

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def check(document, name, value):
    resolver = {"components": document["components"], "$ref": f"#/components/schemas/{name}"}
    jsonschema.Draft202012Validator(resolver).validate(value)


def test_it_is_valid_openapi(document):
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(document)))
    assert references
    for kind, name in references:
        assert name in document["components"][kind]


def test_every_example_fits_its_schema(document):
    schemas = document["components"]["schemas"]
    examples = {name: schema["example"] for name, schema in schemas.items() if "example" in schema}
    assert {"PredictRequest", "PredictResponse", "InferRequest", "Error"} <= set(examples)
    for name, example in examples.items():
        check(document, name, example)


def test_every_get_answers_as_it_says(document, client):
    version = client.get("/v2/models/hakka").json()["versions"][0]
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        answer = client.get(path.format(model_name="hakka", version=version))
        assert answer.status_code == 200, path
        content = methods["get"]["responses"]["200"]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in content
        if kind == "application/json":
            check(document, content[kind]["schema"]["$ref"].rpartition("/")[2], answer.json())


@pytest.mark.parametrize(
    ("path", "request_name", "response_name"),
    [
        ("/v1/models/hakka:predict", "PredictRequest", "PredictResponse"),
        ("/v2/models/hakka/infer", "InferRequest", "InferResponse"),
    ],
)
def test_the_examples_of_requests_work(document, client, path, request_name, response_name):
    answer = client.post(path, json=document["components"]["schemas"][request_name]["example"])
    assert answer.status_code == 200, answer.text
    check(document, response_name, answer.json())
    refused = client.post(path, json={})
    check(document, "Error", refused.json())
    assert str(refused.status_code) in document["paths"][path.replace("hakka", "{model_name}")]["post"]["responses"]


def test_addresses_are_in_it_only_where_they_are_allowed(document, model_dir):
    assert '"url"' not in json.dumps(document)
    with running_server("--model-dir", model_dir, "--no-log", "--allow-url", "https://example.org/photos") as server:
        assert '"url"' in httpx.get(f"{server.url}/openapi.json").text


def test_schemathesis_finds_nothing(server, tmp_path):
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("schemathesis is not installed")
    command = [program, "--config-file", CONFIG, "run", f"{server.url}/openapi.json", "--checks", "all", "--no-color"]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--generation-deterministic"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
