"""The KServe model: queries in, answers out, one prediction-log row an answer."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from hakka.boxes import Array
from hakka.detector.decode import MAX_PIXELS, Photo
from hakka.detector.runtime import photo_features
from hakka.errors import HakkaError
from hakka.monitor.log import PredictionLog
from hakka.monitor.pictures import encode_picture
from hakka.monitor.rows import row
from serving import metrics
from serving.admission import Admission, Busy, Expired
from serving.framework import Model
from serving.photos import read_photo
from serving.protocol import INPUTS, OUTPUTS, Answer, Query, class_numbers, new_id
from serving.versions import Loaded, Versions

MODEL_NAME = "hakka"
FACTS = ("version", "imgsz", "thresholds", "data", "code", "metrics", "created")  # of model.json


@dataclass(frozen=True)
class Seen:
    """What the log takes of a photo: its features, and its pixels or its JPEG if it is one of those to keep."""

    features: dict[str, float]
    picture: Array | bytes | None


class HakkaModel(Model):
    """Answers queries from the admission's workers, so that the event loop stays free for health and metrics."""

    def __init__(
        self, versions: Versions, log: PredictionLog | None, admission: Admission, max_pixels: int = MAX_PIXELS
    ) -> None:
        super().__init__(MODEL_NAME)
        self.versions = versions
        self.admission = admission
        self._log = log
        self._max_pixels = max_pixels
        metrics.show(self._readings())
        self.ready = True

    async def predict(
        self,
        payload: Sequence[Query],
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> list[Answer]:
        """Answers to queries, in order.

        Raises:
            InvalidInput: a photo or a class name that cannot be used.
            Busy, Expired: see ``Admission.run``.
        """
        return await self.answer(payload)

    async def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """One answer a query, in order, all by the same version; nothing is logged if one query is refused."""
        start, loaded = time.perf_counter(), self.versions.current
        deadline = min((query.deadline for query in queries if query.deadline is not None), default=None)
        works = [partial(self._look, loaded, query, len(queries) == 1) for query in queries]
        seen = await self.admission.run(works, deadline)
        latency = (time.perf_counter() - start) * 1000
        for answer, photo in seen:
            metrics.found.add(answer.labels, answer.scores.tolist())
            if self._log is not None:
                self.admission.aside(write_row, self._log, answer, photo, latency)
        return [answer for answer, _ in seen]

    def _look(self, loaded: Loaded, query: Query, single: bool) -> tuple[Answer, Photo | Seen]:
        """The answer, and the photo or what the log takes of it: a request's photos do not all wait for its answer."""
        answer, photo = look(loaded, query, self.admission, self._max_pixels)
        if single:
            return answer, photo
        if self._log is None:
            return answer, Seen({}, None)
        kept = self._log.keeps_picture(answer.prediction_id)
        return answer, Seen(photo_features(photo), encode_picture(photo.pixels) if kept else None)

    def about(self) -> dict[str, Any]:
        """What is served and how: the facts of ``model.json``, the engine, its threads and streams, batch and queue."""
        detector = self.versions.current.detector
        facts = {key: detector.info.raw.get(key) for key in FACTS}
        runs = detector.inference
        return {
            **facts,
            "classes": list(detector.names),
            "engine": runs.engine,
            "device": runs.device,
            "inference_precision": runs.precision,
            "threads": runs.threads,
            "streams": runs.streams,
            "batch": runs.batch,
            "batch_reason": runs.why,
            "workers": self.admission.workers,
            "queue": self.admission.places,
        }

    def _readings(self) -> metrics.Readings:
        admission, log = self.admission, self._log
        counters: dict[str, tuple[str, Callable[[], float]]] = {}
        gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        if log is not None:
            gauges["hakka_log_rows_waiting"] = (
                "Rows in memory that the log's place has not taken",
                lambda: log.waiting,
            )
            counters["hakka_log_rows_written"] = ("Rows in closed files of the prediction log", lambda: log.written)
            counters["hakka_log_rows_dropped"] = ("Rows for which there was no room", lambda: log.dropped)
        return metrics.Readings(
            gauges=gauges
            | {
                "hakka_queue_depth": ("Photos that wait for a worker", lambda: admission.waiting),
                "hakka_queue_places": ("Photos that may wait at most", lambda: admission.places),
                "hakka_inflight": ("Photos that a worker has", lambda: admission.running),
                "hakka_batch_size": (
                    "Photos an inference takes at most",
                    lambda: self.versions.current.detector.inference.batch,
                ),
            },
            counters=counters,
            served=self._served,
        )

    def _served(self) -> dict[str, str]:
        detector = self.versions.current.detector
        data = detector.info.raw.get("data") or {}
        return {
            "version": detector.info.version,
            "engine": detector.inference.engine,
            "data": str(data.get("revision") or data.get("digest") or ""),
        }

    def get_input_types(self) -> list[dict[str, Any]]:
        """The v2 input tensor, in each form that it may have."""
        return [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in INPUTS]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The v2 output tensors."""
        return [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in OUTPUTS.items()]

    def close(self) -> None:
        """Finish what was taken on, then flush the log."""
        self.ready = False
        self.versions.close()
        self.admission.close()
        if self._log is not None:
            self._log.close()


@contextmanager
def counted(protocol: str) -> Iterator[None]:
    """Count a request by how the block ends."""
    start, outcome = time.perf_counter(), "error"
    try:
        yield
        outcome = "ok"
    except asyncio.CancelledError:
        outcome = "gone"
        raise
    except HakkaError as error:
        outcome = "busy" if isinstance(error, Busy) else "expired" if isinstance(error, Expired) else "refused"
        raise
    finally:
        metrics.request(protocol, outcome, time.perf_counter() - start)


def look(loaded: Loaded, query: Query, admission: Admission, max_pixels: int) -> tuple[Answer, Photo]:
    """The answer to a query, and the decoded photo it was given on."""
    detector = loaded.detector
    wanted = class_numbers(query, detector.names)
    with metrics.timed("decode"):
        photo = read_photo(query, detector.info.imgsz, max_pixels)
    with metrics.timed("infer"):
        found = detector.detect(
            photo.pixels,
            confidence=query.confidence,
            iou=query.iou,
            max_detections=query.max_detections,
            classes=wanted,
            alone=admission.alone,
        )
    labels = tuple(detector.names[int(number)] for number in found.class_ids)
    boxes = photo.in_original(found.boxes)
    answer = Answer(new_id(), loaded.version, photo.width, photo.height, boxes, found.scores, found.class_ids, labels)
    return answer, photo


def write_row(log: PredictionLog, answer: Answer, seen: Photo | Seen, latency_ms: float) -> None:
    """Hand one row to the prediction log, and the picture if it is one of those to keep."""
    if isinstance(seen, Photo):
        kept = log.keeps_picture(answer.prediction_id)
        seen = Seen(photo_features(seen), seen.pixels if kept else None)
    log.append(
        row(
            version=answer.version,
            features=seen.features,
            boxes=answer.boxes,
            classes=answer.labels,
            confidences=answer.scores,
            latency_ms=latency_ms,
            prediction_id=answer.prediction_id,
        )
    )
    if seen.picture is not None:
        log.keep_picture(answer.prediction_id, seen.picture)
