"""What a step has to say about one image or one box of the source."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["refused", "dropped", "clipped", "note"]


@dataclass(frozen=True)
class Finding:
    """One sentence about one thing.

    ``refused``, ``dropped`` (left out as the user wishes) and ``clipped`` are about ``boxes`` boxes each (an image that
    is refused takes its boxes with it), so that the sums over all findings are the counts of the report; a ``note``
    counts nothing.
    """

    kind: Kind
    image: str | None
    box: int | None
    reason: str
    boxes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The finding as an entry of ``report.json``."""
        return asdict(self)


def refuse_box(image: str | None, box: int, reason: str) -> Finding:
    """One box that is not converted; ``box`` is its place in the annotation file, from 0."""
    return Finding("refused", image, box, reason, boxes=1)


def refuse_image(image: str | None, reason: str, boxes: int) -> Finding:
    """One image that is not converted, nor are its ``boxes``."""
    return Finding("refused", image, None, reason, boxes)
