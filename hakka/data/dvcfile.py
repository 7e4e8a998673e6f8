"""The two files by which DVC remembers a folder: its record (``photos.dvc``) and the list of its files."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from hakka.errors import InvalidInput, Tampered

_OID = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Record:
    """What a record says of a folder. ``md5`` is the digest of the list of its files and ends in ``.dir``.

    ``legacy`` is true for a record of DVC 2, whose objects lie elsewhere in the cache; ``remote`` is the one that holds
    them, None for the default.
    """

    md5: str
    files: int | None = None
    bytes: int | None = None
    legacy: bool = False
    remote: str | None = None

    @property
    def revision(self) -> str:
        """The name of this content among revisions."""
        return f"dvc-{self.md5}"

    @property
    def object(self) -> Path:
        """Where the list of files lies, relative to the cache."""
        return object_path(self.md5, self.legacy)


def record_path(folder: Path) -> Path:
    """The record of a folder that is tracked: ``photos.dvc`` beside ``photos``."""
    return folder.with_name(f"{folder.name}.dvc")


def parse_record(content: bytes, place: str) -> Record:
    """The record of a folder.

    Raises:
        InvalidInput: it is no DVC file, or it is about a single file.
    """
    try:
        out: Any = yaml.safe_load(content)["outs"][0]
        md5, files, size, remote = (out.get(key) for key in ("md5", "nfiles", "size", "remote"))
        legacy = "hash" not in out
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        md5 = None
    if not isinstance(md5, str) or not _OID.fullmatch(md5):
        raise InvalidInput(f"{place}: not a DVC file: no outs[0].md5")
    if not md5.endswith(".dir"):
        raise InvalidInput(f"{place}: the data must be a folder, DVC tracks a single file there")
    return Record(
        md5,
        files if isinstance(files, int) else None,
        size if isinstance(size, int) else None,
        legacy,
        remote if isinstance(remote, str) else None,
    )


def parse_listing(content: bytes, record: Record) -> dict[str, str]:
    """The files of a folder: POSIX path relative to it → the digest that names its bytes in the cache.

    Raises:
        Tampered: the content does not have the digest that the record names.
        InvalidInput: it is no list of files, or a path leads out of the folder.
    """
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != record.md5.removesuffix(".dir"):
        raise Tampered(f"the DVC cache: the list of files {record.md5} does not have the digest it is named by")
    try:
        files = {str(item["relpath"]): str(item["md5"]) for item in json.loads(content)}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidInput(f"the DVC cache: {record.md5} is not a list of files") from None
    for name, oid in files.items():
        if name.startswith("/") or ".." in PurePosixPath(name).parts or not _OID.fullmatch(oid):
            raise InvalidInput(f"the DVC cache: {record.md5} names a file outside its folder: {name!r}")
    return files


def object_path(oid: str, legacy: bool) -> Path:
    """Where the cache keeps the object ``oid``, relative to the cache folder."""
    return Path(*(() if legacy else ("files", "md5")), oid[:2], oid[2:])
