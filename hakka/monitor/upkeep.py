"""What a log needs beside its writer: old days go, and the many files of a past day become few."""

import logging
import random
import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from hakka.errors import Unavailable
from hakka.monitor.merging import merge_day
from hakka.monitor.storage import Storage

LOGGER = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0
# After a start; apart from each other, because replicas start together.
FIRST_SECONDS = (60.0, 600.0)


def remove_old_days(storage: Storage, keep: int, today: date) -> None:
    """Remove the days before the last ``keep`` ones, of which ``today`` is one; 0 keeps all."""
    first = (today - timedelta(days=keep - 1)).isoformat()
    for day in storage.days() if keep else []:
        if day < first:
            storage.remove_day(day)


class Upkeep:
    """A thread that removes days older than ``keep`` from all storages and merges the past days of the first.

    It may be killed at any moment, and several processes may do the same work on one place.
    """

    def __init__(self, storages: Sequence[Storage], keep: int, every: float = EVERY_SECONDS) -> None:
        self._storages, self._keep, self._every = storages, keep, every
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log-upkeep", daemon=True)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Begin nothing more; wait at most ``timeout`` seconds for what is under way."""
        self._closing.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        pause = min(random.uniform(*FIRST_SECONDS), self._every)  # noqa: S311
        while not self._closing.wait(pause):
            pause = self._every
            try:
                self._round(datetime.now(UTC).date())
            except (OSError, Unavailable) as error:
                LOGGER.warning("the prediction log was not tidied: %s", error)

    def _round(self, today: date) -> None:
        for storage in self._storages:
            remove_old_days(storage, self._keep, today)
        for day in self._storages[0].days():
            if self._closing.is_set():
                return
            if day < today.isoformat():
                merge_day(self._storages[0], day)
