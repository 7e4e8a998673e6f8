"""Where the photo comes from: a file, the camera or the sample. Photos stay in the memory of the session."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from PIL import Image, ImageOps

from hakka.errors import InvalidInput

FORMATS = ("JPEG", "PNG", "WEBP")
ENDINGS = ("jpg", "jpeg", "png", "webp")
UPLOAD_MB = 23  # base64 makes 4/3 of it, which still fits the endpoint's 32 MiB
SHOWN_SIDE = 1280
SAMPLES_SHOWN = 3
SAMPLE_WIDTH = 112  # three side by side fit a phone; columns are at least 128 wide and would be cut off there
_APP = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Photo:
    """The bytes of one photo and the digest that it is known by in the session."""

    data: bytes
    digest: str


def choose_photo() -> Photo | None:
    """Show the three ways to give a photo and return the one that was given last, if any."""
    give, samples = st.columns([3, 2], gap="large")
    with give:
        source = st.segmented_control(
            "Your photo", ["Upload a photo", "Use the camera"], default="Upload a photo", required=True, key="source"
        )
        if source == "Use the camera":
            st.camera_input("Take a photo", key="camera", on_change=_keep_given, args=("camera",))
        else:
            label = "JPEG, PNG or WebP; the app keeps it in memory only"
            st.file_uploader(
                label, ENDINGS, key="upload", max_upload_size=UPLOAD_MB, on_change=_keep_given, args=("upload",)
            )
    with samples:
        _show_samples()
    photo = st.session_state.get("photo")
    return photo if isinstance(photo, Photo) else None


def upright_image(data: bytes, side: int = SHOWN_SIDE) -> Image.Image:
    """The photo with its EXIF orientation applied, scaled so that its longer side is ``side`` pixels.

    A small photo is made larger, so that what is drawn on it stays sharp on the page.

    Raises:
        InvalidInput: the bytes are not a whole JPEG, PNG or WebP.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.draft("RGB", (side, side))  # a large JPEG is decoded at a fraction of its size
        return ImageOps.contain(ImageOps.exif_transpose(image), (side, side))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise InvalidInput("The photo must be a whole JPEG, PNG or WebP file.") from None


def find_samples() -> list[Path]:
    """Some pictures of ``sample/images``, in the working directory or beside the app; spread over the folder."""
    for folder in (Path.cwd() / "sample" / "images", _APP.parent / "sample" / "images"):
        files = sorted(
            p for p in folder.glob("*") if p.suffix[1:].lower() in ENDINGS and not p.name.startswith("faulty")
        )
        if files:
            return files[:: max(1, len(files) // SAMPLES_SHOWN)][:SAMPLES_SHOWN]
    return []


def _keep_given(key: str) -> None:
    """Take over what an upload or camera widget holds now; clearing the widget clears the photo."""
    given = st.session_state[key]
    _keep(given.getvalue() if given is not None else None)


def _keep(data: bytes | None) -> None:
    st.session_state["photo"] = Photo(data, hashlib.sha256(data).hexdigest()) if data is not None else None


def _keep_sample(path: Path) -> None:
    _keep(path.read_bytes())


def _show_samples() -> None:
    samples = find_samples()
    if not samples:
        return
    st.markdown(":small[Or try a sample photo]")
    row = st.container(horizontal=True, gap="small")  # goes on in another line where there is no room
    for path in samples:
        with row.container(width=SAMPLE_WIDTH):
            st.image(_thumbnail(path), width="stretch")
            st.button("Try", key=f"sample {path.name}", on_click=_keep_sample, args=(path,), width="stretch")


@st.cache_data(max_entries=32, show_spinner=False)
def _thumbnail(path: Path) -> Image.Image:
    return ImageOps.fit(upright_image(path.read_bytes(), 400), (320, 240))
