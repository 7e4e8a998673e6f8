"""What every annotation reader gives, whatever it read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from hakka.boxes import Array
from hakka.data.findings import Finding


@dataclass(slots=True)  # not frozen, which takes three times as long to make, and there are many
class SourceImage:
    """One image with its boxes as the source wrote them, not yet held against the pixels.

    ``boxes`` is (n, 5): class index, left, top, right, bottom, in pixels of ``size`` or in shares (0–1) of the sides of
    the upright image. ``places`` are the boxes' places in the annotation file. ``size`` is the width and height that
    the annotations claim, None if they claim nothing. ``split`` is train, val or test where the source says so.
    """

    image: str
    size: tuple[int, int] | None
    boxes: Array
    places: Sequence[int]
    unit: Literal["pixels", "shares"]
    split: str | None = None


@dataclass(frozen=True)
class Annotations:
    """Everything that was found in a source.

    ``images_found`` and ``boxes_found`` count what the source holds, so they equal what is in ``images`` plus what
    ``findings`` refuse.
    """

    format: str
    files: tuple[str, ...]
    names: tuple[str, ...]
    images: tuple[SourceImage, ...]
    images_found: int
    boxes_found: int
    findings: tuple[Finding, ...] = field(default=())
