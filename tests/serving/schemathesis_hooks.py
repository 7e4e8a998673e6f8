"""What schemathesis cannot know of our OpenAPI document: a string of format byte is a photo."""

import base64

import schemathesis
from hypothesis import strategies as st

from tests.serving.conftest import encode_photo

SIDES = st.integers(1, 40)
PHOTOS = st.builds(encode_photo, SIDES, SIDES, st.sampled_from(["JPEG", "PNG", "WEBP"]))

schemathesis.openapi.format("byte", PHOTOS.map(lambda photo: base64.b64encode(photo).decode()))
