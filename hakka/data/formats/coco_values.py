"""What an id and a number of a COCO file can be."""

from typing import Any

from hakka.data.formats.shapes import number

MOST_IMAGES = 2_000_000  # of one file
MOST_BOXES = 20_000_000  # of one file
Key = int | str


def id_key(value: Any) -> Key | None:
    """``value`` if it can be an id (text, or a whole number of 64 bits at most that is exact), else None."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(2**63) <= value < 2**63 else None
    return int(value) if isinstance(value, float) and abs(value) <= 2**53 and value == int(value) else None


def read_size(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height as whole numbers from 1, None if one of them is none."""
    sides = number(width), number(height)
    if any(side is None or side < 1 or side != int(side) for side in sides):
        return None
    return int(width), int(height)
