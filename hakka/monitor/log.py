"""The prediction log: one row a prediction, in Parquet files that are whole or absent."""

import logging
import queue
import threading
import time as clock
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from hakka.boxes import Array
from hakka.errors import InvalidInput, Unavailable
from hakka.monitor.merging import PART, SUFFIX, read_day
from hakka.monitor.pictures import Pictures
from hakka.monitor.rows import SCHEMA, encode_rows
from hakka.monitor.storage import open_storage
from hakka.monitor.upkeep import EVERY_SECONDS, Upkeep
from hakka.objects import Place

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)

PICTURES = "images"  # the folder of kept photos in the log
RETRY_SECONDS = 5.0


def read_log(place: Place, since: datetime | None = None) -> "pd.DataFrame":
    """All closed rows of the log in a folder or at a URL, oldest first; with ``since``, only those of then or later.

    Files that are being written are not seen. A file that cannot be read is skipped with one warning that names it.
    A folder that does not exist holds no rows.

    Raises:
        Unavailable: the object store does not answer.
    """
    import pandas as pd

    storage = open_storage(place)
    first = "" if since is None else since.astimezone(UTC).date().isoformat()
    tables = [table for day in storage.days() if day >= first for table in read_day(storage, day)]
    frame = pd.DataFrame(pa.concat_tables([SCHEMA.empty_table(), *tables]).to_pandas())
    if since is not None:
        frame = frame[frame["time"] >= since.astimezone(UTC)]
    return frame.sort_values("time", kind="stable", ignore_index=True)


class PredictionLog:
    """Rows from any number of threads, written by one thread of its own as ``<place>/<yyyy-mm-dd>/part-<id>.parquet``.

    The place is a folder or a URL (s3://bucket/prefix). A file is closed after ``rows`` rows or ``seconds`` after its
    first row, whichever comes first, and appears whole: by rename once its bytes are on the disk, or as one PUT. What a
    process loses when it is killed (SIGKILL, power) is therefore bounded: the rows of the last ``seconds``, at most
    ``rows`` plus those that wait in the queue; closed files stay whole.

    ``append`` never waits for the place. Where that takes nothing (no space, no network), rows wait in memory, up to
    ``capacity``, and are tried again every ``retry`` seconds; these too are lost when the process is killed, or closed
    before the place is back. Rows for which there is no room are counted in ``dropped``, those in closed files in
    ``written``, those that wait in ``waiting``.

    Another thread keeps order every hour: days before the last ``days`` go (0 keeps all), the files of past days are
    merged. With ``keep_pictures``, a share from 0 to 1, that many photos are kept below ``images/`` for as long.
    """

    def __init__(
        self,
        place: Place,
        *,
        rows: int = 500,
        seconds: float = 5.0,
        capacity: int = 10_000,
        retry: float = RETRY_SECONDS,
        days: int = 0,
        keep_pictures: float = 0.0,
        upkeep: float = EVERY_SECONDS,
    ) -> None:
        self.rows, self.seconds = rows, seconds
        self.written, self.dropped = 0, 0
        self._storage, self._retry = open_storage(place), retry
        # Queue's lock is Python code: a thread that appends without a pause would keep the writer from it for seconds.
        self._queue: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._capacity, self._held = capacity, 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._refused, self._given_up = False, False
        storage = open_storage(place, PICTURES)
        self.pictures = Pictures(storage, keep_pictures) if keep_pictures else None
        self._writer = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._writer.start()
        self._upkeep = Upkeep([self._storage, storage], days, upkeep)

    @property
    def waiting(self) -> int:
        """Rows that are in memory, but for those of the file in the making."""
        return self._queue.qsize() + self._held

    def append(self, values: Mapping[str, Any]) -> None:
        """Take one row (see ``row``) and return at once."""
        with self._lock:
            if self._closing.is_set() or self.waiting >= self._capacity:
                self.dropped += 1
            else:
                self._queue.put(values)

    def keeps_picture(self, prediction_id: str) -> bool:
        """Whether this prediction's photo is one of those to keep."""
        return self.pictures is not None and self.pictures.chooses(prediction_id)

    def keep_picture(self, prediction_id: str, picture: Array | bytes) -> None:
        """Take the photo of a prediction, see ``Pictures.offer``."""
        if self.pictures is not None:
            self.pictures.offer(prediction_id, picture)

    def close(self, timeout: float = 30.0) -> None:
        """Write what was taken and stop; wait at most ``timeout`` seconds for the place."""
        deadline = clock.monotonic() + timeout
        with self._lock:
            first = not self._closing.is_set()
            self._closing.set()
        if first:
            self._queue.put(None)
        self._writer.join(timeout)
        if first and self._writer.is_alive():
            LOGGER.warning("%s did not take the prediction log within %.0f s", self._storage.place, timeout)
        if self.pictures is not None:
            self.pictures.close(max(deadline - clock.monotonic(), 0.0))
        self._upkeep.close(max(deadline - clock.monotonic(), 0.0))

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
        try:
            content = encode_rows(rows)
        except InvalidInput as error:
            self._write_one_by_one(day, rows, error)
            return
        # One name for all tries: an earlier one may have come through although its answer did not.
        name = f"{PART}{uuid.uuid4().hex}{SUFFIX}"
        self._held = len(rows)
        while not self._try(day, name, content):
            if self._closing.is_set():  # that was the last try, also for what is still in the queue
                self._given_up = True
                self._drop(len(rows))
                break
            self._closing.wait(self._retry)
        else:
            self.written += len(rows)
        self._held = 0

    def _try(self, day: date, name: str, content: bytes) -> bool:
        if self._given_up:
            return False
        try:
            self._storage.write(day.isoformat(), name, content)
        except (OSError, Unavailable) as error:
            if not self._refused:
                LOGGER.warning(
                    "%s refuses the prediction log; %d rows are kept in memory: %s",
                    self._storage.place,
                    self._capacity,
                    error,
                )
            self._refused = True
            return False
        self._refused = False
        return True

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
