"""One server with the tiny model for all tests that do not change it."""

import base64
import io

import httpx
import pytest
from PIL import Image

from tests.serving.server import running_server
from tests.serving.tiny_model import build_model_folder


def encode_photo(width=128, height=128, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 60, 40)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A 128 px square JPEG."""
    return encode_photo()


@pytest.fixture(scope="session")
def photo_b64(photo) -> str:
    return base64.b64encode(photo).decode()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    return build_model_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def server(model_dir):
    with running_server("--model-dir", model_dir, "--no-log", "--max-body-mib", "2") as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    with httpx.Client(base_url=server.url, timeout=30) as made:
        yield made
