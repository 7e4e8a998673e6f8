"""Shapes that annotation tools draw, as the axis-aligned box around them.

All lengths are in one unit (pixels, or shares of equal sides), x to the right, y down; angles turn clockwise. A shape
that came from a foreign file is first read with ``points`` or ``number``; what cannot be a shape is a reason.
"""

import math
from collections.abc import Sequence
from typing import Any

from hakka.texts import short

LIMIT = 1e7  # pixels; a coordinate beyond is no position in any image

Bounds = tuple[float, float, float, float]  # left, top, right, bottom
Point = tuple[float, float]


def number(value: Any) -> float | None:
    """``value`` as a float if it is a finite number of a size that a coordinate can have, else None."""
    if (type(value) is float or type(value) is int) and -LIMIT <= value <= LIMIT:  # True is an int of another type
        return float(value)
    return None


def points(value: Any, least: int) -> list[Point] | str:
    """A list ``[[x, y], …]`` of at least ``least`` points, or the reason why it is none."""
    if not isinstance(value, list) or len(value) < least:
        return f"must have {least} points or more, got {short(value)}"
    found: list[Point] = []
    for item in value:
        x, y = (number(item[0]), number(item[1])) if isinstance(item, list) and len(item) == 2 else (None, None)
        if x is None or y is None:
            return f"a point must be two finite numbers within ±{LIMIT:.0e}, got {short(item)}"
        found.append((x, y))
    return found


def polygon_bounds(corners: Sequence[Point]) -> Bounds:
    """The box around one point or more."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def rectangle_bounds(left: float, top: float, width: float, height: float, radians: float = 0.0) -> Bounds:
    """The box around a rectangle that is turned around its top left corner."""
    if radians == 0:
        return left, top, left + width, top + height
    along, across = math.cos(radians), math.sin(radians)
    right = (left + width * along, top + width * across)
    below = (left - height * across, top + height * along)
    return polygon_bounds([(left, top), right, below, (right[0] + below[0] - left, right[1] + below[1] - top)])


def centred_bounds(x: float, y: float, width: float, height: float, radians: float = 0.0) -> Bounds:
    """The box around a rectangle that is turned around its centre (x, y)."""
    along, across = abs(math.cos(radians)), abs(math.sin(radians))
    half = (width * along + height * across) / 2, (width * across + height * along) / 2
    return x - half[0], y - half[1], x + half[0], y + half[1]


def ellipse_bounds(x: float, y: float, across: float, down: float, radians: float = 0.0) -> Bounds:
    """The box around an ellipse with centre (x, y) whose half axes ``across`` and ``down`` are turned."""
    cos, sin = math.cos(radians), math.sin(radians)
    half = math.hypot(across * cos, down * sin), math.hypot(across * sin, down * cos)
    return x - half[0], y - half[1], x + half[0], y + half[1]
