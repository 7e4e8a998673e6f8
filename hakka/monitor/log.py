"""The prediction log: one row a prediction, in Parquet files that are whole or absent."""

import logging
import os
import queue
import threading
import time as clock
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from hakka.errors import InvalidInput
from hakka.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)

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
        ("boxes", pa.list_(pa.list_(pa.float32()))),
        ("classes", pa.list_(pa.string())),
        ("confidences", pa.list_(pa.float32())),
    ]
)


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

    ``features`` holds ``width``, ``height`` (pixels), ``brightness`` and ``blur`` as ``image_features`` gives them;
    ``boxes`` are xyxy in pixels of that image, in the order of ``classes`` and ``confidences``. Without a time or an
    id the row gets the present and a new one.

    Raises:
        InvalidInput: a feature is missing, or the three lists differ in length.
    """
    missing = [name for name in ("width", "height", "brightness", "blur") if name not in features]
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
        "boxes": box_list,
        "classes": class_list,
        "confidences": confidence_list,
    }


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as one Parquet file of ``SCHEMA``: flushed to the disk, then renamed into place.

    Raises:
        InvalidInput: a row does not fit the schema.
        OSError: the disk did not take the file; nothing is left behind.
    """
    try:
        table = pa.Table.from_pylist([dict(values) for values in rows], schema=SCHEMA)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{path.name}: a row does not fit the log's schema: {error}") from None
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_whole(path, sink.getvalue().to_pybytes())
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A rename survives a power cut only once the folder that holds the new name is on the disk too.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_rows(path: Path) -> "pd.DataFrame":
    """All rows of one file that ``write_rows`` wrote.

    Raises:
        InvalidInput: the file is missing, is not Parquet or lacks a column of ``SCHEMA``.
    """
    import pandas as pd

    return pd.DataFrame(_read_table(path).to_pandas())


def _read_table(path: Path) -> pa.Table:
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path}: not a prediction log file: not a regular file")
    try:
        return pq.ParquetFile(path).read().select(SCHEMA.names).cast(SCHEMA)
    except FileNotFoundError:
        raise InvalidInput(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise InvalidInput(f"{path}: not a prediction log file: {' '.join(str(error).split())}") from None


def read_log(folder: Path, since: datetime | None = None) -> "pd.DataFrame":
    """All closed rows under ``folder``, oldest first; with ``since``, only the rows of that time or later.

    Files that are being written are not seen. A file that cannot be read is skipped with one warning that names it.
    A folder that does not exist holds no rows.
    """
    import pandas as pd

    tables = [SCHEMA.empty_table()]
    for path in sorted(folder.glob("*/part-*.parquet")):
        if since is None or path.parent.name >= since.astimezone(UTC).date().isoformat():
            try:
                tables.append(_read_table(path))
            except InvalidInput as error:
                LOGGER.warning("skipped: %s", error)
    frame = pd.DataFrame(pa.concat_tables(tables).to_pandas())
    if since is not None:
        frame = frame[frame["time"] >= since.astimezone(UTC)]
    return frame.sort_values("time", kind="stable", ignore_index=True)


class PredictionLog:
    """Rows from any number of threads, written by one thread of its own as ``<folder>/<yyyy-mm-dd>/part-<id>.parquet``.

    A file is closed after ``rows`` rows or ``seconds`` after its first row, whichever comes first, and appears by
    rename once its bytes are on the disk. What a process loses when it is killed (SIGKILL, power) is therefore
    bounded: the rows of the last ``seconds``, at most ``rows`` plus those that wait in the queue; closed files stay
    whole.
    ``append`` never waits for the disk. Rows that the queue (``capacity``) or the disk has no room for are counted in
    ``dropped``; those in closed files in ``written``.
    """

    def __init__(self, folder: Path, *, rows: int = 500, seconds: float = 5.0, capacity: int = 10_000) -> None:
        self.folder, self.rows, self.seconds = folder, rows, seconds
        self.written, self.dropped = 0, 0
        # Queue's lock is Python code: a thread that appends without a pause would keep the writer from it for seconds.
        self._queue: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._capacity = capacity
        self._lock = threading.Lock()
        self._closed, self._disk_failed = False, False
        self._writer = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._writer.start()

    def append(self, values: Mapping[str, Any]) -> None:
        """Take one row (see ``row``) and return at once."""
        with self._lock:
            if self._closed or self._queue.qsize() >= self._capacity:
                self.dropped += 1
            else:
                self._queue.put(values)

    def close(self, timeout: float = 30.0) -> None:
        """Write what was taken and stop; wait at most ``timeout`` seconds for the disk."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._queue.put(None)
        self._writer.join(timeout)
        if first and self._writer.is_alive():
            LOGGER.warning("%s: the disk did not take the prediction log within %.0f s", self.folder, timeout)

    def __enter__(self) -> Self:
        """Use as a block that closes the log at its end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _run(self) -> None:
        batch: list[Mapping[str, Any]] = []
        deadline, running = 0.0, True
        while running:
            try:
                item = self._queue.get(timeout=max(0.0, deadline - clock.monotonic()) if batch else None)
                running = item is not None
                if item is not None:
                    deadline = deadline if batch else clock.monotonic() + self.seconds
                    batch.append(item)
            except queue.Empty:
                pass
            if batch and (not running or len(batch) >= self.rows or clock.monotonic() >= deadline):
                for day, rows in groupby(batch, key=_day):
                    self._write(day, list(rows))
                batch = []

    def _write(self, day: date, rows: list[Mapping[str, Any]]) -> None:
        path = self.folder / day.isoformat() / f"part-{uuid.uuid4().hex}.parquet"
        try:
            write_rows(path, rows)
            self.written += len(rows)
            self._disk_failed = False
        except InvalidInput as error:
            self._write_one_by_one(day, rows, error)
        except OSError as error:
            self._drop(len(rows))
            if not self._disk_failed:
                LOGGER.warning("%s: the disk refuses the prediction log, rows are dropped: %s", self.folder, error)
            self._disk_failed = True

    def _write_one_by_one(self, day: date, rows: list[Mapping[str, Any]], error: InvalidInput) -> None:
        # One row of a wrong shape must not cost the rows beside it.
        if len(rows) > 1:
            for values in rows:
                self._write(day, [values])
        else:
            self._drop(1)
            LOGGER.warning("a row of the prediction log was dropped: %s", error)

    def _drop(self, count: int) -> None:
        with self._lock:
            self.dropped += count


def _day(values: Mapping[str, Any]) -> date:
    time = values.get("time")
    return time.astimezone(UTC).date() if isinstance(time, datetime) else datetime.now(UTC).date()
