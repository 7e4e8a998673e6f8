"""How a photo fills the model's input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakka.detector.fit import input_shape, least_side, letterbox


def photo(height, width):
    return np.zeros((height, width, 3), np.uint8)


def test_letterbox_keeps_the_aspect_and_says_where_the_photo_is():
    square, scale, left, top = letterbox(photo(50, 100), (64, 64))
    assert square.shape == (64, 64, 3)
    assert (scale, left, top) == (0.64, 0.0, 16.0)
    assert (square[:16] == 114).all()
    assert (square[16:48] == 0).all()


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [
        (3000, 4000, (480, 640)),
        (4000, 3000, (640, 480)),
        (1080, 1920, (384, 640)),  # 360 and grey
        (640, 640, (640, 640)),
        (30, 40, (480, 640)),
        (100, 1000, (320, 640)),  # no flatter
        (1, 9000, (320, 640)),
    ],
)
def test_the_input_is_as_small_as_the_photo_lets_it_be(height, width, shape):
    assert input_shape(photo(height, width), 640, 32) == shape
    assert input_shape(photo(height, width), 640, None) == (640, 640)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 40), st.sampled_from([8, 32, 64]))
def test_every_photo_is_whole_in_its_input(height, width, strides, stride):
    size = strides * stride
    high, wide = input_shape(photo(height, width), size, stride)
    assert high % stride == wide % stride == 0
    assert least_side(size, stride) <= min(high, wide) <= max(high, wide) == size
    scale = min(high / height, wide / width)
    assert size - 1 <= max(height, width) * scale <= size + 1e-6  # the shorter side is rounded to a pixel
