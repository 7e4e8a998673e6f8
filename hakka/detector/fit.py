"""A photo fitted into the model's input: scaled to its size, with grey beside it."""

import numpy as np

from hakka.boxes import Array

PAD_VALUE = 114  # the grey that YOLO models see beside a photo that does not fill their input


def least_side(size: int, stride: int) -> int:
    """The shorter side in pixels of the flattest input of a model for ``size`` pixels: half of it or a little more.

    A flatter photo gets more grey, so that there are few shapes of input and each has room for a head's boxes.
    """
    return -(-size // (2 * stride)) * stride


def input_shape(image: Array, size: int, stride: int | None) -> tuple[int, int]:
    """Height and width in pixels of the smallest input that holds an image, its longer side being ``size``.

    Both are multiples of the network's ``stride``: a photo of 4:3 needs three quarters of the square's work. A network
    without one takes squares.
    """
    if stride is None:
        return size, size
    scale = size / max(image.shape[:2])
    rounded = (-(-round(side * scale) // stride) * stride for side in image.shape[:2])
    high, wide = (min(max(side, least_side(size, stride)), size) for side in rounded)
    return high, wide


def letterbox(image: Array, shape: tuple[int, int], out: Array | None = None) -> tuple[Array, float, float, float]:
    """The image fitted into ``shape`` (height, width), grey beside it; and scale, left and top of the photo in it.

    The result is ``out`` if that is given, (height, width, 3) uint8.
    """
    import cv2

    height, width = image.shape[:2]
    high, wide = shape
    scale = min(wide / width, high / height)
    new_width, new_height = max(round(width * scale), 1), max(round(height * scale), 1)
    left, top = (wide - new_width) // 2, (high - new_height) // 2
    canvas = np.empty((high, wide, 3), np.uint8) if out is None else out
    canvas[:top] = canvas[top + new_height :] = PAD_VALUE
    canvas[:, :left] = canvas[:, left + new_width :] = PAD_VALUE
    place = canvas[top : top + new_height, left : left + new_width]
    if (new_width, new_height) == (width, height):
        place[:] = image
    else:
        cv2.resize(image, (new_width, new_height), dst=place, interpolation=cv2.INTER_LINEAR)
    return canvas, scale, float(left), float(top)
