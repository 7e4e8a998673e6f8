"""A source of small photos with two classes, and the dataset made of it."""

import json
from pathlib import Path

import pytest
from quality_photos import photo

from hakka.data.convert import convert
from hakka.data.dataset import Dataset, load_dataset
from hakka.data.split import SplitParams


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    images, boxes = [], []
    for i in range(24):
        photo(i).save(folder / f"{i:02}.jpg")
        images.append({"id": i, "file_name": f"{i:02}.jpg"})
        boxes += [{"image_id": i, "category_id": 1 + i % 2, "bbox": [5 + i, 5, 30, 30 + j]} for j in (0, 20)]
    categories = [{"id": 1, "name": "egg"}, {"id": 2, "name": "mik <b>"}]
    (folder / "a.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return folder


@pytest.fixture
def dataset(source: Path, tmp_path: Path) -> Dataset:
    convert(source, tmp_path / "dataset", params=SplitParams(near_duplicate_bits=84))
    return load_dataset(tmp_path / "dataset")
