"""A real endpoint for the app: ``python -m serving`` with a model that finds the same things on every photo."""

import io

import pytest
from PIL import Image

from tests.serving.server import running_server
from tests.serving.tiny_model import build_model_folder

NAMES = ("tomato", "onion", "bell_pepper", "chili")
# left, top, right, bottom in pixels of the model's 64 px input, score, class
FOUND = (
    (4, 12, 26, 40, 0.9, 0),
    (30, 10, 60, 30, 0.6, 1),
    (28, 34, 44, 58, 0.4, 0),
    (46, 36, 62, 60, 0.3, 2),
    (2, 44, 20, 62, 0.12, 3),
)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory):
    """The address of a ready endpoint; the model's own threshold is 0.25."""
    pytest.importorskip("kserve", reason="the app is tested against the real endpoint, which needs kserve")
    folder = build_model_folder(tmp_path_factory.mktemp("app") / "model", FOUND, NAMES)
    with running_server("--model-dir", folder, "--no-log") as server:
        yield server.url


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG, upright 480 x 640."""
    return encode(Image.new("RGB", (480, 640), (196, 164, 120)))


def encode(image: Image.Image, **options) -> bytes:
    """The JPEG bytes of an image."""
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()
