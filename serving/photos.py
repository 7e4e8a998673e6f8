"""A query's photo, decoded."""

import numpy as np

from hakka.detector.decode import Photo, decode_photo
from hakka.errors import InvalidInput
from serving.protocol import Query, image_bytes


class UnusablePhoto(InvalidInput):
    """The bytes of a photo are no photo that can be used."""


def read_photo(query: Query, model_size: int, max_pixels: int) -> Photo:
    """The photo of a query, for a model whose input has sides of ``model_size`` pixels.

    Raises:
        UnusablePhoto: its text is not base64, its bytes are no photo, or it has more than ``max_pixels`` pixels.
    """
    if not isinstance(query.image, str | memoryview | bytes):
        pixels = np.asarray(query.image)
        return Photo(pixels, pixels.shape[1], pixels.shape[0])
    try:
        return decode_photo(image_bytes(query), max_pixels=max_pixels, model_size=model_size)
    except InvalidInput as error:
        sentence = str(error)
        place = "" if sentence.startswith(query.place) else f"{query.place} "
        raise UnusablePhoto(f"{place}{sentence.removeprefix('image: ')}") from None
