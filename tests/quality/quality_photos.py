"""Small photos, and what a validation's report says in short."""

import numpy as np
from PIL import Image


def photo(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


def failed(report: dict, severity: str = "error") -> dict[str, str]:
    """The checks of a severity that did not pass, each with the sentences of its findings."""
    return {
        check["name"]: "\n".join(finding["reason"] for finding in check["findings"])
        for check in report["checks"]
        if not check["passed"] and check["severity"] == severity
    }
