"""The KServe model: queries in, answers out, one prediction-log row an answer."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hakka.boxes import Array
from hakka.detector.runtime import decode_image, image_features
from hakka.errors import InvalidInput
from hakka.monitor.log import PredictionLog, row
from serving import grpc_v2
from serving.framework import InferRequest, InferResponse, Model
from serving.protocol import OUTPUTS, Answer, Query, class_numbers, image_bytes, new_id
from serving.versions import Loaded, Versions

MODEL_NAME = "hakka"


class HakkaModel(Model):
    """Answers queries from a pool of ``workers`` threads, so that the event loop stays free for health and metrics."""

    def __init__(self, versions: Versions, log: PredictionLog | None, workers: int) -> None:
        super().__init__(MODEL_NAME)
        self.versions = versions
        self._log = log
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="detect")
        self.ready = True

    async def predict(
        self,
        payload: list[Query] | InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> list[Answer] | InferResponse:
        """Answers to queries (REST), or the response to one gRPC request.

        Raises:
            InvalidInput: a photo or a class name that cannot be used; kserve's own error of that name for gRPC.
        """
        if not isinstance(payload, InferRequest):
            return await self.answer(payload)
        with grpc_v2.refusals():
            request = grpc_v2.read_request(payload)
            [answer] = await self.answer([request.query])
            return grpc_v2.response(answer, request, self.name)

    async def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """One answer a query, in order, all by the same version; nothing is logged if one query is refused."""
        start, loaded, loop = time.perf_counter(), self.versions.current, asyncio.get_running_loop()
        jobs = [loop.run_in_executor(self._pool, look, loaded, query) for query in queries]
        seen = await asyncio.gather(*jobs)
        latency = (time.perf_counter() - start) * 1000
        if self._log is not None:
            for answer, photo in seen:
                self._pool.submit(write_row, self._log, answer, photo, latency)
        return [answer for answer, _ in seen]

    def get_input_types(self) -> list[dict[str, Any]]:
        """The v2 input tensors."""
        return [{"name": "image", "datatype": "BYTES", "shape": [1]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The v2 output tensors."""
        return [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in OUTPUTS.items()]

    def close(self) -> None:
        """Finish what was taken on, then flush the log."""
        self.ready = False
        self.versions.close()
        self._pool.shutdown(wait=True)
        if self._log is not None:
            self._log.close()


def look(loaded: Loaded, query: Query) -> tuple[Answer, Array]:
    """The answer to a query, and the decoded photo it was given on."""
    wanted = class_numbers(query, loaded.detector.names)
    data = image_bytes(query)
    try:
        photo = decode_image(data)
    except InvalidInput as error:
        raise InvalidInput(f"{query.place} {str(error).removeprefix('image: ')}") from None
    found = loaded.detector.detect(
        photo, confidence=query.confidence, iou=query.iou, max_detections=query.max_detections, classes=wanted
    )
    height, width = photo.shape[:2]
    labels = tuple(loaded.detector.names[int(number)] for number in found.class_ids)
    answer = Answer(new_id(), loaded.version, width, height, found.boxes, found.scores, found.class_ids, labels)
    return answer, photo


def write_row(log: PredictionLog, answer: Answer, photo: Array, latency_ms: float) -> None:
    """Hand one row to the prediction log; the picture itself is not kept."""
    log.append(
        row(
            version=answer.version,
            features=image_features(photo),
            boxes=answer.boxes,
            classes=answer.labels,
            confidences=answer.scores,
            latency_ms=latency_ms,
            prediction_id=answer.prediction_id,
        )
    )
