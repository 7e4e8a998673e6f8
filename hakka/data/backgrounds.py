"""Drawn table tops for composed scenes: eight families, all from noise, none from a file."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from hakka.errors import InvalidInput

Field = npt.NDArray[np.float32]


def draw_background(rng: np.random.Generator, family: str, size: int) -> Image.Image:
    """A ``size`` × ``size`` RGB table top of one family of ``FAMILIES``.

    Raises:
        InvalidInput: there is no such family.
    """
    check_family(family)
    return Image.fromarray(np.clip(FAMILIES[family](rng, size), 0, 255).astype(np.uint8))


def check_family(family: str) -> None:
    """Do nothing for the name of a family.

    Raises:
        InvalidInput: there is no such family.
    """
    if family not in FAMILIES:
        raise InvalidInput(f"background: must be one of {', '.join(FAMILIES)}, got {family!r}")


def draw_plate(rng: np.random.Generator, canvas: Image.Image) -> Image.Image:
    """The canvas with a round plate or a board on it."""
    size = canvas.width
    radius = size * rng.uniform(0.25, 0.48)
    x, y = rng.uniform(0.3, 0.7, 2) * size
    shade = int(rng.integers(150, 250))
    colour = tuple(int(np.clip(shade + c, 0, 255)) for c in rng.integers(-18, 18, 3))
    mask = Image.new("L", canvas.size)
    draw = ImageDraw.Draw(mask)
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(box, fill=255) if rng.random() < 0.7 else draw.rounded_rectangle(box, radius / 6, fill=255)
    soft = mask.filter(ImageFilter.GaussianBlur(6)).point([v // 3 for v in range(256)])
    canvas = Image.composite(Image.new("RGB", canvas.size), canvas, soft)
    rim = mask.filter(ImageFilter.GaussianBlur(1.2))
    canvas = Image.composite(Image.new("RGB", canvas.size, colour), canvas, rim)
    inner = 0.72 * radius
    ImageDraw.Draw(canvas).ellipse(
        (x - inner, y - inner, x + inner, y + inner), outline=tuple(max(c - 14, 0) for c in colour), width=2
    )
    return canvas


def _noise(rng: np.random.Generator, size: int, cells: int, octaves: int = 4) -> Field:
    """Smooth noise of about -1..1, (size, size): octaves of stretched random grids."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        grid = rng.normal(0, 1, (cells * 2**octave + 1,) * 2).astype(np.float32)
        total += np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)) / 2**octave
    return np.asarray(total / 2, np.float32)


def _paint(field: npt.NDArray[Any], low: npt.ArrayLike, high: npt.ArrayLike) -> Field:
    """(size, size) values of 0..1 as a blend of two colours, (size, size, 3)."""
    mix = np.clip(field, 0, 1)[..., None]
    return np.asarray(np.asarray(low, np.float32) * (1 - mix) + np.asarray(high, np.float32) * mix, np.float32)


def _axes(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Turned coordinates in pixels, each (size, size)."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _wood(rng: np.random.Generator, size: int) -> Field:
    along, across = _axes(rng, size)
    warp = _noise(rng, size, 2, 3) * 14
    grain = np.sin((across + warp) * rng.uniform(0.15, 0.5)) * 0.25 + _noise(rng, size, 3) * 0.2 + 0.5
    plank = ((across / rng.uniform(60, 130)) % 1) < 0.02
    dark = np.array([95, 62, 38]) * rng.uniform(0.6, 1.3)
    light = np.array([190, 140, 95]) * rng.uniform(0.8, 1.2)
    return _paint(grain - 0.5 * plank + 0.0002 * along, dark, light)


def _cloth(rng: np.random.Generator, size: int) -> Field:
    u, v = _axes(rng, size)
    period = rng.uniform(24, 80)
    check = ((u // period) % 2 + (v // period) % 2) / 2
    weave = np.sin(u * 1.9) * np.sin(v * 1.9) * 0.06
    return _paint(check + weave + _noise(rng, size, 3, 2) * 0.08, rng.uniform(60, 210, 3), rng.uniform(190, 250, 3))


def _marble(rng: np.random.Generator, size: int) -> Field:
    u, _ = _axes(rng, size)
    veins = np.abs(np.sin(u * 0.03 + _noise(rng, size, 3, 5) * 2.6)) ** 0.35
    return _paint(veins, rng.uniform(120, 190) * np.array([1, 0.99, 0.97]), rng.uniform(215, 250) * np.ones(3))


def _slate(rng: np.random.Generator, size: int) -> Field:
    return _paint(_noise(rng, size, 6, 6) * 0.35 + 0.5, rng.uniform(25, 60, 3), rng.uniform(75, 120) * np.ones(3))


def _gradient(rng: np.random.Generator, size: int) -> Field:
    u, _ = _axes(rng, size)
    return _paint((u - u.min()) / np.ptp(u) + _noise(rng, size, 2, 2) * 0.1, *rng.uniform(20, 245, (2, 3)))


def _granite(rng: np.random.Generator, size: int) -> Field:
    speckle = rng.normal(0, 1, (size, size)).astype(np.float32)
    blurred = np.asarray(Image.fromarray(speckle).resize((size // 2, size // 2)).resize((size, size)))
    return _paint(blurred * 0.6 + _noise(rng, size, 8) * 0.2 + 0.5, rng.uniform(40, 120, 3), rng.uniform(120, 230, 3))


def _tiles(rng: np.random.Generator, size: int) -> Field:
    u, v = _axes(rng, size)
    period = rng.uniform(50, 150)
    joint = ((u % period) < 3) | ((v % period) < 3)
    face = (np.sin(u // period * 12.9 + v // period * 78.2) * 43758.5) % 1 * 0.25 + 0.6 + _noise(rng, size, 4) * 0.08
    return _paint(face - 0.5 * joint, rng.uniform(30, 160, 3), rng.uniform(120, 250, 3))


def _scribble(rng: np.random.Generator, size: int) -> Field:
    field = sum(_noise(rng, size, int(cells), 3) for cells in rng.integers(2, 24, 2))
    return _paint(np.asarray(np.sin(np.asarray(field) * 3) * 0.5 + 0.5, np.float32), *rng.uniform(0, 255, (2, 3)))


FAMILIES: dict[str, Callable[[np.random.Generator, int], Field]] = {
    "wood": _wood,
    "cloth": _cloth,
    "marble": _marble,
    "slate": _slate,
    "gradient": _gradient,
    "granite": _granite,
    "tiles": _tiles,
    "scribble": _scribble,
}
"""Every family by name. The sample uses the first four, the starter checkpoint was trained on the last four."""
