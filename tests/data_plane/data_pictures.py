"""Small real photos, drawn from a seed, and COCO around them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def draw(path: Path, seed: int, size: tuple[int, int] = (96, 64), **options: Any) -> Path:
    """A smooth random picture: another seed looks like another scene."""
    values = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


def coco(images: list[Any], annotations: list[Any], names: tuple[str, ...] = ("apple", "mik")) -> dict[str, Any]:
    categories = [{"id": 10 * (i + 1), "name": name} for i, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}
