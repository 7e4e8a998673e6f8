"""A share of the photos, kept beside the prediction log: pixels only, nothing of what the sender's file said."""

import logging
import queue
import threading
from datetime import UTC, datetime
from io import BytesIO

from hakka.boxes import Array
from hakka.errors import InvalidInput, Unavailable
from hakka.monitor.storage import Storage

LOGGER = logging.getLogger(__name__)

PICTURE_SIDE = 1280  # pixels of the longer side at most
QUALITY = 90
WAITING = 8  # pictures that may wait to be written


def encode_picture(pixels: Array) -> bytes:
    """RGB pixels (height, width, 3) uint8 as a JPEG of at most ``PICTURE_SIDE``, without metadata."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


class Pictures:
    """Writes pictures as ``<day>/<prediction_id>.jpg`` from a thread of its own.

    ``offer`` never waits: what finds ``WAITING`` pictures before it, or what the place refuses, is counted in
    ``dropped``; what was written in ``written``.
    """

    def __init__(self, storage: Storage, share: float) -> None:
        if not 0 < share <= 1:
            raise InvalidInput(f"the share of photos to keep must be over 0 and at most 1, got {share:g}")
        self.share = share
        self.written, self.dropped = 0, 0
        self._storage = storage
        self._queue: queue.SimpleQueue[tuple[str, Array | bytes] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed, self._failed = False, False
        self._writer = threading.Thread(target=self._run, name="kept-pictures", daemon=True)
        self._writer.start()

    def chooses(self, prediction_id: str) -> bool:
        """Whether a prediction's photo is to be kept; the id's first eight hex digits are the lot."""
        return int(prediction_id[:8], 16) < self.share * 2**32

    def offer(self, prediction_id: str, picture: Array | bytes) -> None:
        """Take a picture, as pixels or as ``encode_picture`` gives it, and return at once."""
        with self._lock:
            if self._closed or self._queue.qsize() >= WAITING:
                self.dropped += 1
            else:
                self._queue.put((prediction_id, picture))

    def close(self, timeout: float) -> None:
        """Write what was taken and stop; wait at most ``timeout`` seconds."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._queue.put(None)
        self._writer.join(timeout)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            prediction_id, picture = item
            try:
                content = picture if isinstance(picture, bytes) else encode_picture(picture)
                self._storage.write(datetime.now(UTC).date().isoformat(), f"{prediction_id}.jpg", content)
                self.written += 1
                self._failed = False
            except (OSError, Unavailable) as error:
                with self._lock:
                    self.dropped += 1
                if not self._failed:
                    LOGGER.warning("%s: no picture can be kept: %s", self._storage.place, error)
                self._failed = True
