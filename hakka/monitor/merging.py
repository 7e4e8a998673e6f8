"""A day's files: many small parts as they were written, and merged files that take the place of parts.

A merged file names the parts that it holds, with their numbers of rows, in its metadata. Whoever reads takes each part
once: from a merged file if one holds it, else from its own file. Merging is therefore safe against a kill at any point
and against others who merge the same day: first the merged file appears, then its parts go, and in between, or where
two merged files hold the same part, the parts that are there twice are read once.
"""

import hashlib
import json
import logging
from collections.abc import Iterator

import pyarrow as pa

from hakka.errors import InvalidInput, Unavailable
from hakka.monitor.rows import decode_table, encode_table
from hakka.monitor.storage import Storage

LOGGER = logging.getLogger(__name__)

PART, MERGED = "part-", "whole-"  # in this order in a listing: see _read_once
SUFFIX = ".parquet"
PARTS_KEY = b"hakka.parts"
MERGED_ROWS = 100_000
READ_TRIES = 10

Parts = list[tuple[str, int]]  # names of parts and their numbers of rows, in the order of the rows


class _Changed(Exception):
    """The day was merged while it was read."""


def read_day(storage: Storage, day: str) -> list[pa.Table]:
    """All rows of a day, each once. A file that cannot be read is skipped with a warning that names it.

    Raises:
        Unavailable: the store does not answer, or the day is merged again and again.
    """
    for _ in range(READ_TRIES):
        try:
            return _read_once(storage, day)
        except _Changed:
            continue
    raise Unavailable(f"{storage.place}/{day}: the files change faster than they can be read")


def _read_once(storage: Storage, day: str) -> list[pa.Table]:
    # A long listing is not of one moment. Merged files come late in it, so one is seen if a part is missing for it;
    # where names come in any order the second listing sees it.
    names = storage.files(day)
    tables: list[pa.Table] = []
    taken: set[str] = set()
    for name in _files(names, MERGED):
        table = _read(storage, day, name)
        if table is not None:
            tables += [rows for part, rows in _split(table) if part not in taken]
            taken |= {part for part, _ in _parts_of(table)}
    for name in _files(names, PART):
        if name not in taken and (table := _read(storage, day, name)) is not None:
            tables.append(table)
    if _files(storage.files(day), MERGED) != _files(names, MERGED):
        raise _Changed
    return [table.replace_schema_metadata(None) for table in tables]


def merge_day(storage: Storage, day: str) -> None:
    """Merge a day's parts into few files; for days to which little or nothing is added any more.

    Raises:
        OSError, Unavailable: the store does not take part; all rows are where they were.
    """
    storage.tidy(day)
    _remove_merged_parts(storage, day)
    try:
        for parts in _groups(storage, day):
            if len(parts) > 1:
                _merge(storage, day, parts)
    except _Changed:  # another writer merges this day
        return
    _remove_merged_parts(storage, day)


def _groups(storage: Storage, day: str) -> Iterator[list[tuple[str, pa.Table]]]:
    group: list[tuple[str, pa.Table]] = []
    rows = 0
    names = _files(storage.files(day), PART)
    for name in names if len(names) > 1 else []:
        table = _read(storage, day, name)
        if table is None:
            continue
        group.append((name, table))
        rows += len(table)
        if rows >= MERGED_ROWS:
            yield group
            group, rows = [], 0
    yield group


def _merge(storage: Storage, day: str, parts: list[tuple[str, pa.Table]]) -> None:
    """Write the merged file of some parts; the same parts make the same name and content."""
    listing = json.dumps([(name, len(table)) for name, table in parts], separators=(",", ":")).encode()
    table = pa.concat_tables([table.replace_schema_metadata(None) for _, table in parts])
    table = table.combine_chunks().replace_schema_metadata({PARTS_KEY: listing})
    storage.write(day, f"{MERGED}{hashlib.sha256(listing).hexdigest()[:32]}{SUFFIX}", encode_table(table))


def _remove_merged_parts(storage: Storage, day: str) -> None:
    """Remove the parts that a readable merged file holds."""
    names = storage.files(day)
    parts = set(_files(names, PART))
    for name in _files(names, MERGED):
        if not parts:
            return
        try:
            table = _read(storage, day, name)
        except _Changed:  # the whole day was removed
            return
        held = set() if table is None else {part for part, _ in _parts_of(table)}
        for part in sorted(parts & held):
            storage.remove(day, part)
        parts -= held


def _files(names: list[str], kind: str) -> list[str]:
    return [name for name in names if name.startswith(kind) and name.endswith(SUFFIX)]


def _read(storage: Storage, day: str, name: str) -> pa.Table | None:
    try:
        content = storage.read(day, name)
        if content is None:
            raise _Changed
        table = decode_table(content)
        if name.startswith(MERGED) and sum(count for _, count in _parts_of(table)) != len(table):
            raise InvalidInput("not a prediction log file: its parts do not add up to its rows")
        return table
    except (InvalidInput, OSError) as error:
        LOGGER.warning("skipped: %s/%s/%s: %s", storage.place, day, name, error)
        return None


def _parts_of(table: pa.Table) -> Parts:
    try:
        return [(str(name), int(count)) for name, count in json.loads((table.schema.metadata or {})[PARTS_KEY])]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"not a merged prediction log file: {error!r}") from None


def _split(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    start = 0
    for part, count in _parts_of(table):
        yield part, table.slice(start, count)
        start += count
