"""Files of foreign origin into memory: never a pipe, never without an end, never a traceback."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from hakka.texts import printable, short

MIB = 2**20
LARGEST_JSON = 128 * MIB
MOST_VALUES = 8_000_000  # about 1 GB of Python objects


def read_file(folder: Path, name: str, largest: int) -> tuple[bytes, str]:
    """The bytes of a regular file of at most ``largest`` bytes and "", or b"" and the reason why not."""
    try:
        # without O_NONBLOCK the opening of a pipe would wait for ever
        handle = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as file:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                return b"", "not a regular file"
            if about.st_size <= largest:
                return file.read(about.st_size), ""
    except OSError as error:
        return b"", f"the file cannot be read: {error.strerror or error}"
    return b"", "larger than " + (f"{largest // MIB} MiB" if largest >= MIB else f"{largest // 1024} KiB")


def parse_json(data: bytes) -> tuple[Any, str]:
    """The value of a JSON text in UTF-8, UTF-16 or UTF-32 and "", or None and the reason why it is not usable.

    A key that comes twice in one object with two values makes the file unusable: nobody can say which one is meant.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_VALUES:
        return None, f"not usable JSON: more than {MOST_VALUES:,} values"
    try:
        return json.loads(data, object_pairs_hook=_object), ""
    except RecursionError:
        return None, "not usable JSON: nested too deep"
    except _RepeatedKey as error:
        return None, f"not usable JSON: {error}"
    except (ValueError, MemoryError) as error:
        return None, f"not valid JSON: {printable(' '.join(str(error).split()))[:200]}"


class _RepeatedKey(Exception):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: dict[str, Any] = {}
        for key, item in pairs:
            if seen.setdefault(key, item) != item:
                raise _RepeatedKey(f"the key {short(key)} comes twice in one object, with two values")
    return value
