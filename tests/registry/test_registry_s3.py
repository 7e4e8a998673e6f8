"""A registry in an object store: a real S3 server on loopback, writers in processes of their own."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hakka.detector.modelfile import read_model_info
from hakka.errors import NotFound, Tampered, Unavailable
from hakka.registry import champion, channel_history, list_versions, promote, resolve, rollback
from tests.object_store import make_bucket, running_store, store_environment
from tests.serving.tiny_model import build_model_folder, register_model

OTHER = ((4, 4, 20, 20, 0.8, 2),)


@pytest.fixture(scope="module")
def endpoint():
    """The address of an S3 server that ends with the tests."""
    pytest.importorskip("moto", reason="moto (requirements/dev.txt) is the S3 server of these tests")
    with running_store() as address:
        yield address


@pytest.fixture
def registry(endpoint, monkeypatch, tmp_path):
    """A URL under which nothing lies yet."""
    for name, value in {**store_environment(endpoint), "HAKKA_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    make_bucket("models")
    return f"s3://models/{tmp_path.name}"


@pytest.fixture
def versions(tmp_path, registry):
    """Two registered versions."""
    first = register_model(build_model_folder(tmp_path / "one"), registry)
    second = register_model(build_model_folder(tmp_path / "two", found=OTHER), registry)
    return first, second


def test_versions_and_channels_in_an_object_store(registry, versions):
    first, second = versions
    assert {record["version"] for record in list_versions(registry)} == {first, second}
    assert champion(registry) is None
    promote(registry, first)
    promote(registry, second)
    promote(registry, second)
    folder = resolve("champion", registry)
    assert read_model_info(folder).version == second  # fetched, whole, and checked against its digests
    assert resolve("champion", registry) == folder
    assert rollback(registry) == first
    assert [step["version"] for step in channel_history(registry, "champion")] == [first, second, first]
    with pytest.raises(NotFound):
        promote(registry, "abcabcabcabc")


def test_what_was_tampered_with_in_the_store_is_refused(registry, versions):
    import fsspec

    files, path = fsspec.url_to_fs(f"{registry}/versions/{versions[0]}/model.bin")
    files.pipe_file(path, b"other weights")
    with pytest.raises(Tampered, match=r"model\.bin"):
        read_model_info(resolve(versions[0], registry))


SWITCH = """
import sys
from hakka.registry import promote
registry, versions = sys.argv[1], sys.argv[2:4]
for i in range(10):
    promote(registry, versions[i % 2])
"""


def test_two_writers_at_once_lose_no_step(registry, versions):
    orders = [versions, versions[::-1]]
    writers = [
        subprocess.Popen([sys.executable, "-c", SWITCH, registry, *order], cwd=Path(__file__).parents[2])
        for order in orders
    ]
    for writer in writers:
        assert writer.wait(timeout=120) == 0
    history = [step["version"] for step in channel_history(registry, "champion")]
    assert len(history) >= 10
    assert all(a != b for a, b in itertools.pairwise(history)), "a step was overwritten"


def test_without_s3fs_the_registry_can_still_be_read(registry, versions):
    """The serve image holds pyarrow but no s3fs."""
    promote(registry, versions[1])
    script = "\n".join(
        [
            "import sys; sys.modules['s3fs'] = None",
            "from hakka.registry import resolve",
            "print(resolve('champion', sys.argv[1]))",
        ]
    )
    command = [sys.executable, "-c", script, registry]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    assert read_model_info(Path(done.stdout.strip())).version == versions[1]


def test_a_server_that_is_away_is_one_sentence(registry, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    script = "import sys; from hakka.registry import champion; champion(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", script, registry],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        check=False,
    )
    assert f"Unavailable: the registry {registry} cannot be reached" in done.stderr
    with pytest.raises(Unavailable, match="cannot be opened"):
        champion("nosuch://bucket/registry")
