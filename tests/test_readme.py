"""The README's commands do what it says: the curl examples as printed, and every verb that it names exists."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.server import running_server
from tests.serving.tiny_model import build_model_folder

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
CURLS = [block for block in BLOCKS if "curl" in block]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = build_model_folder(tmp_path_factory.mktemp("readme") / "model")
    with running_server("--model-dir", folder, "--no-log") as running:
        yield running


@pytest.mark.parametrize("block", CURLS, ids=["v1", "v2", "v2-binary"])
def test_the_curl_examples_work_as_printed(server, block):
    assert "http://127.0.0.1:8080" in block
    command = block.replace("http://127.0.0.1:8080", server.url)  # the test's server has a port of its own
    done = subprocess.run(["bash", "-ec", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    if "/v1/" in block:
        found = answer["predictions"][0]["detections"]
        assert [item["name"] for item in found] == ["apple", "banana"]
        assert answer["predictions"][0]["image"] == {"width": 416, "height": 416}
    else:
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        assert outputs["labels"] == ["apple", "banana"]
        assert len(outputs["boxes"]) == 8


def test_there_is_an_example_of_each_way():
    assert len(CURLS) == 3


def test_the_python_example_works_as_printed(server):
    pytest.importorskip("tritonclient.http")
    [block] = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "triton" in block]
    code = block.replace("127.0.0.1:8080", server.url.removeprefix("http://"))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["apple", "banana"]


def test_every_verb_and_target_in_the_readme_exists():
    from hakka.cli import build_parser

    verbs = set(re.findall(r"^hakka (\w+)", "\n".join(BLOCKS), re.MULTILINE))
    known = build_parser()._subparsers._group_actions[0].choices  # argparse has no public way to list them
    assert verbs
    assert verbs <= set(known)
    targets = set(re.findall(r"\bmake (\w+)", README))
    assert targets <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) | {"a"}


def test_every_file_that_the_readme_links_to_exists():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        if not link.startswith("http"):
            assert (ROOT / link).exists(), link
