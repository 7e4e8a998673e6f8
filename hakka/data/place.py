"""Boxes held against the pixels: turned upright with the photo, cut to the frame, or refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from hakka.boxes import Array, xyxy_to_cxcywh
from hakka.data.findings import Finding, refuse_box
from hakka.data.formats.annotations import SourceImage
from hakka.data.scan import Scan

TOLERANCE = 1e-3  # pixels that a box may hang out of the frame by rounding, and sides from which on it is a box
LEAST_VISIBLE = 1.0  # pixels that must be left of either side of a box that was clipped
_STEP = 8192  # images that are looked at at once


@dataclass(frozen=True)
class Placed:
    """``boxes`` is (n, 5): class index, then cx, cy, w, h in shares (0–1) of the upright image, all inside its frame.

    The boxes of image ``i`` are ``boxes[starts[i]:starts[i + 1]]``, in the order of the source.
    """

    boxes: Array
    starts: list[int]
    findings: tuple[Finding, ...]


def size_problem(image: SourceImage, scan: Scan) -> str | None:
    """Why the boxes cannot be placed: the annotations claim another size than the image has.

    A claim that is the transposed size of a photo that EXIF turns by a quarter is fine: the boxes were drawn on the
    photo as the sensor saw it and are turned with it.
    """
    upright = (scan.width, scan.height)
    if image.size is None or image.size == upright or (image.size == upright[::-1] and scan.orientation >= 5):
        return None
    return (
        f"the annotations say {image.size[0]} x {image.size[1]} pixels, the image has {upright[0]} x {upright[1]}: "
        "its boxes cannot be placed"
    )


def place_boxes(images: Sequence[SourceImage], scans: Mapping[str, Scan]) -> Placed:
    """The boxes of images whose sizes have no problem, put onto the upright images and clipped to them."""
    boxes = np.empty((sum(len(image.boxes) for image in images), 5))
    counts: list[Array] = []
    findings: list[Finding] = []
    filled = 0
    for i in range(0, len(images), _STEP):
        part = images[i : i + _STEP]
        placed, count, found = _place(part, [scans[image.image] for image in part])
        boxes[filled : filled + len(placed)] = placed
        filled += len(placed)
        counts.append(count)
        findings += found
    starts = np.concatenate([[0], *counts]).cumsum().tolist()
    return Placed(boxes[:filled], starts, tuple(findings))


def _place(images: Sequence[SourceImage], scans: Sequence[Scan]) -> tuple[Array, Array, list[Finding]]:
    """The boxes of some images as ``Placed`` has them, how many each image has, and what there is to say."""
    counts = np.array([len(image.boxes) for image in images])
    starts = np.concatenate([[0], counts.cumsum()]).tolist()
    of_box = np.repeat(np.arange(len(images)), counts)
    sizes = [(scan.width, scan.height) for scan in scans]
    sides = np.fromiter(chain.from_iterable(sizes), dtype=float, count=2 * len(sizes)).reshape(-1, 2).T
    frames = np.repeat(np.concatenate([sides, sides]), counts, axis=1)
    boxes = np.concatenate([image.boxes for image in images])
    corners = np.ascontiguousarray(boxes.T[1:])  # a row for each side is what numpy is fast at
    pairs = zip(images, sizes, strict=True)
    for i in [i for i, (image, size) in enumerate(pairs) if image.size != size or image.unit == "shares"]:
        image, scan, rows = images[i], scans[i], slice(starts[i], starts[i + 1])
        if image.unit == "shares":
            corners[:, rows] *= frames[:, rows]
        elif image.size is not None:
            corners[:, rows] = turn(corners[:, rows].T, scan.orientation, scan.height, scan.width).T
    clipped = np.clip(corners, 0, frames)
    visible = (clipped[2:] - clipped[:2]).min(axis=0, initial=np.inf)
    cut = (np.abs(clipped - corners) > TOLERANCE).any(axis=0)
    gone = (visible < TOLERANCE) | (cut & (visible < LEAST_VISIBLE))
    findings = []
    for row in np.flatnonzero(cut | gone).tolist():
        image = images[of_box[row]]
        place = int(image.places[row - starts[of_box[row]]])
        findings.append(
            _tell(image.image, place, *(of[:, row] for of in (corners, clipped, frames)), gone=bool(gone[row]))
        )
    boxes[:, 1:] = xyxy_to_cxcywh(clipped.T, frames[0], frames[1])
    if gone.any():
        boxes, counts = boxes[~gone], np.bincount(of_box[~gone], minlength=len(images))
    return boxes, counts, findings


def _tell(image: str, place: int, was: Array, became: Array, frame: Array, *, gone: bool) -> Finding:
    frame_text = f"{frame[0]:.0f} x {frame[1]:.0f} frame"
    if gone:
        reason = f"box {place}: outside the {frame_text} or thinner than a pixel in it: {_text(was)}"
        return refuse_box(image, place, reason)
    reason = f"box {place}: hangs out of the {frame_text}: {_text(was)} became {_text(became)}"
    return Finding("clipped", image, place, reason, boxes=1)


def turn(corners: Array, orientation: int, width: int, height: int) -> Array:
    """(n, 4) xyxy pixels of a ``width`` x ``height`` sensor picture as xyxy of the picture that EXIF 5–8 turns upright.

    5 mirrors along the main diagonal, 6 turns by 90° clockwise, 7 mirrors along the other diagonal, 8 turns by 270°
    (CIPA DC-008, table of tag 0x0112).
    """
    left, top, right, bottom = corners.T
    turned = {
        5: (top, left, bottom, right),
        6: (height - bottom, left, height - top, right),
        7: (height - bottom, width - right, height - top, width - left),
        8: (top, width - right, bottom, width - left),
    }[orientation]
    return np.stack(turned, axis=1)


def _text(corners: Array) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in corners) + "]"
