"""Photos to detections on all cores: several photos are read, decoded and looked at side by side."""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.batch.parts import MOST_PHOTOS, Parts, cut
from hakka.batch.photos import PhotoFile
from hakka.batch.results import check_out, read_part, write_coco, write_parquet
from hakka.cores import usable_cores
from hakka.detector.decode import decode_photo
from hakka.detector.runtime import Detector
from hakka.errors import InvalidInput

# While one worker hands over its rows and takes the next photo, another one uses its core.
SPARE_WORKERS = 1
# An object store answers after some 50 ms: so many more photos are on their way meanwhile.
REMOTE_WORKERS = 16

Show = Callable[[int, int], None]  # photos done in this run, photos to do in this run


@dataclass(frozen=True)
class Summary:
    """Photos in the result, ``kept`` of them from an earlier run and ``failed`` with an error; and boxes found."""

    photos: int
    kept: int
    failed: int
    detections: int


def predict_photos(
    detector: Detector,
    photos: Sequence[PhotoFile],
    out: Path,
    *,
    kind: str | None = None,
    confidence: float | None = None,
    show: Show = lambda done, total: None,
) -> Summary:
    """Write what is on each photo to ``out``, as Parquet (``results.SCHEMA``) or, ``kind`` "coco", as COCO JSON.

    Rows are in the order of ``photos``; a photo that cannot be read is a row with an ``error``. Finished parts lie in
    ``OUT.parts`` until the result is whole; a run that is killed goes on from them, for photos of the same name, size
    and time and for the same model and confidence, and ends with the same bytes. To that end one inference takes one
    photo: in batches a photo's last digits hang on the photos beside it.

    Raises:
        InvalidInput: ``out`` cannot be used, see ``check_out``.
        Unavailable: an object store does not answer, or another process writes this result.
    """
    kind = check_out(out, kind)
    settings = {"version": detector.info.version, "confidence": confidence}
    parts = Parts(out.with_name(f"{out.name}.parts"), settings)
    chunks = list(cut(photos))
    with parts.locked():
        waiting = [chunk for chunk in chunks if not parts.holds(chunk)]
        _Run(detector, confidence, parts, show).do(waiting)
        paths = [parts.path(chunk) for chunk in chunks]
        if kind == "coco":
            write_coco(paths, out, detector.names, detector.info.version)
        else:
            write_parquet(map(read_part, paths), out)
        summary = _sum_up(paths, len(photos) - sum(map(len, waiting)))
        parts.remove()
    return summary


class _Run:
    """The chunks of one run, some ahead of the one that is written."""

    def __init__(self, detector: Detector, confidence: float | None, parts: Parts, show: Show) -> None:
        self._detector, self._confidence, self._parts, self._show = detector, confidence, parts, show
        workers = usable_cores() + SPARE_WORKERS
        self._computing = threading.BoundedSemaphore(workers)  # what is decoded at once decides the memory
        self._workers = workers

    def do(self, chunks: Sequence[Sequence[PhotoFile]]) -> None:
        """Look at all photos and write their parts, in order."""
        import cv2

        cv2.setNumThreads(1)  # its threads would only compete with the other workers
        if chunks:
            # OpenVINO may hang for ever where two threads come at once with the first pictures of a process.
            self._detector.warm_up()
        total, done = sum(map(len, chunks)), 0
        remote = any(photo.files is not None for chunk in chunks for photo in chunk)
        pool = ThreadPoolExecutor(self._workers + remote * REMOTE_WORKERS, thread_name_prefix="predict")
        ahead: deque[tuple[Sequence[PhotoFile], list[Future[dict[str, Any]]]]] = deque()
        try:
            for chunk in [*chunks, []]:
                ahead.append((chunk, [pool.submit(self._row, photo) for photo in chunk]))
                while ahead and (not chunk or sum(len(futures) for _, futures in ahead) > 2 * MOST_PHOTOS):
                    done = self._finish(*ahead.popleft(), done, total)
        finally:
            pool.shutdown(cancel_futures=True)

    def _finish(self, chunk: Sequence[PhotoFile], futures: list[Future[dict[str, Any]]], done: int, total: int) -> int:
        rows = []
        for future in futures:
            rows.append(future.result())
            done += 1
            self._show(done, total)
        if chunk:
            self._parts.write(chunk, rows)
        return done

    def _row(self, photo: PhotoFile) -> dict[str, Any]:
        row: dict[str, Any] = {"image": photo.name, "size": photo.size, "version": self._detector.info.version}
        try:
            content = photo.read()
            row["sha256"] = hashlib.sha256(content).hexdigest()
            with self._computing:
                return row | self._look(content)
        except InvalidInput as error:
            return row | {"error": str(error).removeprefix("image: ")}

    def _look(self, content: bytes) -> dict[str, Any]:
        seen = decode_photo(content, model_size=self._detector.info.imgsz)
        found = self._detector.detect(seen.pixels, confidence=self._confidence, alone=False)
        labels = found.class_ids.tolist()
        return {
            "width": seen.width,
            "height": seen.height,
            "boxes": seen.in_original(found.boxes).tolist(),
            "class_ids": labels,
            "classes": [self._detector.names[label] for label in labels],
            "confidences": found.scores.tolist(),
        }


def _sum_up(paths: Sequence[Path], kept: int) -> Summary:
    photos = failed = detections = 0
    for path in paths:
        table = read_part(path, ["error", "confidences"])
        photos += len(table)
        failed += len(table) - table["error"].null_count
        detections += sum(len(values or ()) for values in table["confidences"].to_pylist())
    return Summary(photos, kept, failed, detections)
