"""Finished parts of a run, kept beside its result until that is whole: what a killed run need not do again."""

import fcntl
import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hakka.batch.photos import PhotoFile
from hakka.batch.results import SCHEMA
from hakka.errors import Unavailable
from hakka.files import canonical_json, whole_file

FORMAT = 1
MEAN_PHOTOS, MOST_PHOTOS = 32, 64
_LOCK = "lock"


def cut(photos: Sequence[PhotoFile]) -> Iterator[list[PhotoFile]]:
    """Photos in parts. Names decide where one ends, so that photos that come or go change only the parts around."""
    part: list[PhotoFile] = []
    for photo in photos:
        part.append(photo)
        if len(part) == MOST_PHOTOS or zlib.crc32(photo.name.encode()) % MEAN_PHOTOS == 0:
            yield part
            part = []
    if part:
        yield part


class Parts:
    """The folder of parts of one result. A part is named by what it was made of: photos, model and settings."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder, self._settings = folder, settings

    def path(self, photos: Sequence[PhotoFile]) -> Path:
        """Where the part of these photos is, or will be."""
        photo_list = [[photo.name, photo.address, photo.size, photo.stamp] for photo in photos]
        record = canonical_json([FORMAT, self._settings, photo_list]) if photo_list else b""
        return self._folder / f"part-{hashlib.sha256(record).hexdigest()[:32]}.parquet"

    def holds(self, photos: Sequence[PhotoFile]) -> bool:
        """Whether their part is there, with all of its rows."""
        try:
            return int(pq.read_metadata(self.path(photos)).num_rows) == len(photos)
        except (OSError, pa.ArrowException):
            return False

    def write(self, photos: Sequence[PhotoFile], rows: Sequence[dict[str, Any]]) -> None:
        """Write the part of these photos, whole."""
        with whole_file(self.path(photos)) as file:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone; it ends with the process.

        Raises:
            Unavailable: another process holds it.
        """
        self._folder.mkdir(exist_ok=True)
        with (self._folder / _LOCK).open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable(f"{self._folder}: another hakka predict is writing here") from None
            yield

    def remove(self) -> None:
        """Remove the parts, and the folder if nothing else is in it."""
        for pattern in ("part-*.parquet", ".part-*", _LOCK):
            for path in self._folder.glob(pattern):
                path.unlink()
        with suppress(OSError):
            os.rmdir(self._folder)  # noqa: PTH106
