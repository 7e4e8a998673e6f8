"""What the tests of all annotation readers share."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from data_pictures import draw
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hakka.boxes import cxcywh_to_xyxy
from hakka.data.dataset import load_dataset
from hakka.data.formats import Annotations

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SENSOR = {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}  # orientation 6: turned by 90°

# numbers, texts and trees as hostile files hold them
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a.jpg", "../a.jpg", "/etc/passwd", "rect", "polygon", "rectangle", "apple", "\ud800", "\0"])
)


def trees(*keys: str) -> st.SearchStrategy[Any]:
    """JSON values whose objects like to have ``keys``."""
    names = st.sampled_from(keys) | st.text(max_size=4)
    return st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=25
    )


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def drawn(source: Path, *names: str, **options: Any) -> Path:
    for i, name in enumerate(names):
        draw(source / name, i, **options)
    return source


def boxes(annotations: Annotations) -> dict[str, list[tuple[Any, ...]]]:
    """Image → (class name, left, top, right, bottom) …, rounded."""
    return {
        image.image: [(annotations.names[int(row[0])], *np.round(row[1:], 3).tolist()) for row in image.boxes]
        for image in annotations.images
    }


def reasons(annotations: Annotations) -> str:
    return "\n".join(finding.reason for finding in annotations.findings)


def assert_adds_up(annotations: Annotations) -> None:
    refused = [finding for finding in annotations.findings if finding.kind == "refused"]
    assert annotations.images_found == len(annotations.images) + sum(item.box is None for item in refused)
    kept = sum(len(image.boxes) for image in annotations.images)
    assert annotations.boxes_found == kept + sum(item.boxes for item in refused)
    for image in annotations.images:
        assert len(image.places) == len(image.boxes)
        assert image.boxes.shape[1] == 5
        assert np.isfinite(image.boxes).all()
        assert (image.boxes[:, 3:] > image.boxes[:, 1:3]).all()
        assert set(image.boxes[:, 0]) <= set(range(len(annotations.names)))
    assert all(finding.reason.encode() and "\n" not in finding.reason for finding in annotations.findings)


def converted(out: Path, image: str) -> list[list[float]]:
    """The boxes of a converted dataset in pixels of the upright photo."""
    dataset = load_dataset(out)
    entry = next(entry for entry in dataset.entries if entry.image == image)
    return np.round(cxcywh_to_xyxy(dataset.labels(entry)[:, 1:], entry.width, entry.height), 3).tolist()
