"""A source folder of small real photos with COCO annotations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_pictures import coco, draw


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def write_coco(source: Path) -> Callable[..., Path]:
    """Write annotations.json with ``boxes`` as {image number: [bbox, …]}, drawing ``count`` images of 96 x 64."""

    def write(count: int = 6, boxes: dict[int, list[Any]] | None = None, **image_fields: Any) -> Path:
        images, annotations = [], []
        for i in range(count):
            draw(source / "images" / f"{i:03}.jpg", i)
            images.append({"id": i, "file_name": f"{i:03}.jpg", "width": 96, "height": 64, **image_fields})
            for bbox in (boxes or {}).get(i, [[8, 8, 32, 16]] if boxes is None else []):
                annotations.append({"id": len(annotations), "image_id": i, "category_id": 10, "bbox": bbox})
        (source / "annotations.json").write_text(json.dumps(coco(images, annotations)))
        return source

    return write
