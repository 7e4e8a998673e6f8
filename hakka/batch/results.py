"""The results of many photos: rows, and the Parquet or COCO JSON file that they end in."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from hakka.errors import InvalidInput
from hakka.files import whole_file

SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("size", pa.int64()),  # bytes
        ("sha256", pa.string()),
        ("version", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("boxes", pa.list_(pa.list_(pa.float32()))),  # xyxy, pixels of the upright photo
        ("class_ids", pa.list_(pa.int32())),
        ("classes", pa.list_(pa.string())),
        ("confidences", pa.list_(pa.float32())),
        ("error", pa.string()),  # why the photo could not be read; null for all others
    ]
)
FORMATS = {".parquet": "parquet", ".json": "coco"}
GROUP_ROWS = 8192
_KEY = b"hakka.predictions"
_HEAD = b'{"info":{"description":"Hakka predictions"'
_DIGITS = 3  # of a pixel


def check_out(out: Path, wanted: str | None) -> str:
    """The format of the file to write, by its name or as wanted.

    Raises:
        InvalidInput: neither says it, the folder is missing, or there is a file that is no result of ours.
    """
    kind = wanted or FORMATS.get(out.suffix.lower())
    if kind is None:
        raise InvalidInput(f"--out must end in {' or '.join(FORMATS)} unless --format is given, got {str(out)!r}")
    if out.is_dir() or not out.parent.is_dir():
        raise InvalidInput(f"--out must be a file in a folder that exists, got {str(out)!r}")
    if out.exists() and not _is_ours(out):
        raise InvalidInput(f"{out}: will not replace a file that hakka predict did not write")
    return kind


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(len(_HEAD)) == _HEAD:
            return True
    try:
        return _KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one part file. (Arrow's own ``read_table`` takes a folder called ``a=b`` for a column.)"""
    return pq.ParquetFile(path).read(columns)


def write_parquet(tables: Iterable[pa.Table], out: Path) -> None:
    """Write the tables' rows as one file, whole; the same rows give the same bytes."""
    schema = SCHEMA.with_metadata({_KEY: b"1"})
    with whole_file(out) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _grouped(tables):
            writer.write_table(group.replace_schema_metadata(schema.metadata), row_group_size=len(group) or None)


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(len(item) for item in waiting) >= GROUP_ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def write_coco(parts: Sequence[Path], out: Path, names: Sequence[str], version: str) -> None:
    """Write the rows of part files as COCO JSON, whole: images, categories, and annotations with a ``score``.

    Ids count from 1; category ids are class ids from 1. Photos that could not be read are listed beside, in
    ``unreadable``.
    """
    with whole_file(out) as file:
        file.write(_HEAD + b',"version":' + orjson.dumps(version) + b'},\n"categories":')
        file.write(orjson.dumps([{"id": i, "name": name} for i, name in enumerate(names, 1)]))
        for key, items in (("images", _images), ("annotations", _annotations), ("unreadable", _unreadable)):
            file.write(b',\n"' + key.encode() + b'":[')
            for count, item in enumerate(items(_rows(parts))):
                file.write((b",\n" if count else b"\n") + orjson.dumps(item))
            file.write(b"]")
        file.write(b"}\n")


def _rows(parts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for part in parts:
        yield from read_part(part).to_pylist()


def _images(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    readable = (row for row in rows if row["error"] is None)
    for number, row in enumerate(readable, 1):
        yield {"id": number, "file_name": row["image"], "width": row["width"], "height": row["height"]}


def _annotations(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    number = 0
    for image, row in enumerate((row for row in rows if row["error"] is None), 1):
        for box, label, score in zip(row["boxes"], row["class_ids"], row["confidences"], strict=True):
            number += 1
            left, top, right, bottom = box
            bbox = [round(value, _DIGITS) for value in (left, top, right - left, bottom - top)]
            yield {
                "id": number,
                "image_id": image,
                "category_id": label + 1,
                "bbox": bbox,
                "area": round(bbox[2] * bbox[3], _DIGITS),
                "iscrowd": 0,
                "score": score,
            }


def _unreadable(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from ({"file_name": row["image"], "error": row["error"]} for row in rows if row["error"] is not None)
