"""A row of the prediction log, and rows as the bytes of a Parquet file."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from hakka.errors import InvalidInput
from hakka.files import sync_folder, write_whole

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("version", pa.string()),
        ("latency_ms", pa.float32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("brightness", pa.float32()),
        ("blur", pa.float32()),
        ("red", pa.float32()),
        ("green", pa.float32()),
        ("blue", pa.float32()),
        ("saturation", pa.float32()),
        ("boxes", pa.list_(pa.list_(pa.float32()))),
        ("classes", pa.list_(pa.string())),
        ("confidences", pa.list_(pa.float32())),
    ]
)
# Of image_features: a row has all of the first; the second are null in files and rows that do without them.
FEATURES = ("width", "height", "brightness", "blur")
COLOURS = ("red", "green", "blue", "saturation")


def row(
    *,
    version: str,
    features: Mapping[str, float],
    boxes: Iterable[Sequence[float]],
    classes: Iterable[str],
    confidences: Iterable[float],
    latency_ms: float | None = None,
    prediction_id: str | None = None,
    time: datetime | None = None,
) -> dict[str, Any]:
    """One log row in the columns of ``SCHEMA``; serving and the evaluation's reference both build theirs here.

    ``features`` holds ``FEATURES`` and maybe ``COLOURS`` as ``image_features`` gives them; ``boxes`` are xyxy in pixels
    of that image, in the order of ``classes`` and ``confidences``. Without a time or an id the row gets the present and
    a new one.

    Raises:
        InvalidInput: a feature is missing, or the three lists differ in length.
    """
    missing = [name for name in FEATURES if name not in features]
    if missing:
        raise InvalidInput(f"a log row needs the features width, height, brightness and blur, {missing[0]} is missing")
    box_list = [[float(value) for value in box] for box in boxes]
    class_list, confidence_list = [str(name) for name in classes], [float(value) for value in confidences]
    if not len(box_list) == len(class_list) == len(confidence_list):
        lengths = f"{len(box_list)}, {len(class_list)} and {len(confidence_list)}"
        raise InvalidInput(f"a log row needs as many boxes as classes as confidences, got {lengths}")
    return {
        "prediction_id": prediction_id or uuid.uuid4().hex,
        "time": (time or datetime.now(UTC)).astimezone(UTC),
        "version": version,
        "latency_ms": None if latency_ms is None else float(latency_ms),
        "width": int(features["width"]),
        "height": int(features["height"]),
        "brightness": float(features["brightness"]),
        "blur": float(features["blur"]),
        **{name: float(features[name]) if name in features else None for name in COLOURS},
        "boxes": box_list,
        "classes": class_list,
        "confidences": confidence_list,
    }


def encode_rows(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as a Parquet file of ``SCHEMA``.

    Raises:
        InvalidInput: a row does not fit the schema.
    """
    try:
        table = pa.Table.from_pylist([dict(values) for values in rows], schema=SCHEMA)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"a row does not fit the log's schema: {error}") from None
    return encode_table(table)


def encode_table(table: pa.Table) -> bytes:
    """A table as a Parquet file; metadata of its schema is kept."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def decode_table(content: bytes) -> pa.Table:
    """A file of the log as a table of ``SCHEMA`` with the file's metadata; colours that it lacks are null.

    Raises:
        InvalidInput: it is not Parquet or lacks another column.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()
        metadata = table.schema.metadata
        for name in COLOURS:
            if name not in table.schema.names:
                table = table.append_column(name, pa.nulls(len(table), pa.float32()))
        return table.select(SCHEMA.names).cast(SCHEMA).replace_schema_metadata(metadata)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InvalidInput(f"not a prediction log file: {' '.join(str(error).split())}") from None


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as one Parquet file of ``SCHEMA``: flushed to the disk, then renamed into place.

    Raises:
        InvalidInput: a row does not fit the schema.
        OSError: the disk did not take the file; nothing is left behind.
    """
    write_whole(path, encode_rows(rows))
    sync_folder(path.parent)


def read_rows(path: Path) -> "pd.DataFrame":
    """All rows of one file that ``write_rows`` wrote.

    Raises:
        InvalidInput: the file is missing, is not Parquet or lacks a column of ``SCHEMA`` other than the colours.
    """
    import pandas as pd

    if not path.exists():
        raise InvalidInput(f"{path}: no such file")
    if not path.is_file():
        raise InvalidInput(f"{path}: not a prediction log file: not a regular file")
    try:
        return pd.DataFrame(decode_table(path.read_bytes()).to_pandas())
    except (InvalidInput, OSError) as error:
        raise InvalidInput(f"{path}: {error}") from None
