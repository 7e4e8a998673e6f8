"""Boxes held against the pixels: turned upright with the photo, cut to the frame, or refused."""

from dataclasses import dataclass

import numpy as np

from hakka.boxes import Array
from hakka.data.findings import Finding, refuse_box
from hakka.data.formats.annotations import SourceImage
from hakka.data.scan import Scan

TOLERANCE = 1e-3  # pixels that a box may hang out of the frame by rounding before it counts as clipped
LEAST_VISIBLE = 1.0  # pixels that must be left of either side of a box that was clipped


@dataclass(frozen=True)
class Placed:
    """``boxes`` is (n, 5): class index and xyxy pixels of the upright image, all inside the frame."""

    boxes: Array
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


def place_boxes(image: SourceImage, scan: Scan) -> Placed:
    """The boxes of an image whose size has no problem, in pixels of the upright image, clipped to it."""
    corners = image.boxes[:, 1:].copy()
    if image.unit == "shares":
        corners *= [scan.width, scan.height, scan.width, scan.height]
    elif image.size not in (None, (scan.width, scan.height)):
        corners = turn(corners, scan.orientation, scan.height, scan.width)
    clipped = np.clip(corners, 0, [scan.width, scan.height, scan.width, scan.height])
    overhang = np.abs(clipped - corners).max(axis=1, initial=0)
    visible = (clipped[:, 2:] - clipped[:, :2]).min(axis=1, initial=np.inf)
    cut = overhang > TOLERANCE
    gone = (visible <= 0) | (cut & (visible < LEAST_VISIBLE))
    findings = []
    for i in np.flatnonzero(cut | gone):
        was, now = _text(corners[i]), _text(clipped[i])
        frame = f"{scan.width} x {scan.height} frame"
        if gone[i]:
            reason = f"box {image.places[i]}: outside the {frame} or thinner than a pixel in it: {was}"
            findings.append(refuse_box(image.image, image.places[i], reason))
        else:
            reason = f"box {image.places[i]}: hangs out of the {frame}: {was} became {now}"
            findings.append(Finding("clipped", image.image, image.places[i], reason, boxes=1))
    boxes = np.concatenate([image.boxes[:, :1], clipped], axis=1)
    return Placed(boxes[~gone], tuple(findings))


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
