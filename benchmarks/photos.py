"""Photos to send."""

from io import BytesIO
from pathlib import Path

from PIL import Image


def read_photos(folder: Path, size: tuple[int, int] | None = None) -> list[bytes]:
    """Up to 32 whole JPEGs of a folder, as they are or made ``size`` (width, height)."""
    found = []
    for path in sorted(folder.rglob("*.jp*g")):
        try:
            with Image.open(path) as image:
                image.load()
                if image.format == "JPEG":
                    found.append(_resized(image, size) if size else path.read_bytes())
        except OSError:
            continue  # the sample holds files that are broken on purpose
        if len(found) == 32:
            break
    return found


def write_photos(photos: list[bytes], folder: Path) -> None:
    """The photos as files, in their order."""
    folder.mkdir()
    for number, photo in enumerate(photos):
        (folder / f"{number:03}.jpg").write_bytes(photo)


def _resized(image: Image.Image, size: tuple[int, int]) -> bytes:
    buffer = BytesIO()
    image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
