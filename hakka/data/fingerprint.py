"""The cheap revision of a local folder, for when DVC does not know it."""

import hashlib
from pathlib import Path

from hakka.data.listing import list_source
from hakka.data.metadata import METADATA
from hakka.files import canonical_json, sha256_file
from hakka.texts import printable

ANNOTATION_SUFFIXES = (".json", ".txt", ".xml", ".yaml", ".yml")
"""How the names of the files end that the annotation readers may read."""


def fingerprint(source: Path) -> str:
    """Hex SHA-256 over names, sizes and modification times of the images and the content of the files of text.

    Those are the annotation files and ``metadata.csv``.
    No image is opened, so it is quick on any number of them; a photo that was changed without a new time or size is not
    noticed here, but by its digest when it is converted.

    Raises:
        InvalidInput: the folder is missing or empty.
    """
    listing = list_source(source)
    digest = hashlib.sha256()
    for name in listing.images:
        path = source / name
        stat = path.stat() if path.exists() else None  # a link may hang in the air
        about = (stat.st_size, stat.st_mtime_ns) if stat is not None else ()
        digest.update(canonical_json([printable(name), *about]) + b"\n")
    read = [name for suffix in ANNOTATION_SUFFIXES for name in listing.with_suffix(suffix)]
    for name in [*read, METADATA]:
        if (source / name).is_file():
            digest.update(canonical_json([printable(name), sha256_file(source / name)]) + b"\n")
    return digest.hexdigest()
