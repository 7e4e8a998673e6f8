"""Servers without a model, to see what KServe and the protocols cost.

``python -m benchmarks.empty hakka ARGUMENTS``: ``python -m serving`` that reads each request and finds the same three
things at once. ``python -m benchmarks.empty bare PORT GRPC_PORT``: FastAPI and grpc.aio that take the same bytes unread
and give the same answers, written beforehand.
"""

import sys
from typing import Any

import grpc
import numpy as np
import orjson
import uvicorn
import uvloop
from fastapi import FastAPI, Request, Response

import serving.model
from benchmarks.load import INFER, PREDICT
from hakka.detector.decode import Photo
from serving.__main__ import main
from serving.framework import InferenceServicer, add_servicer
from serving.grpc_v2 import make_response
from serving.protocol import OUTPUTS, Answer, Query, V2Request, image_bytes
from serving.responses import v1_response, v2_response
from serving.routes import JSON_LENGTH

NAMES = ("apple", "banana", "carrot")
BOXES = np.array([[8, 8, 24, 24], [32, 16, 60, 48], [5, 70, 90, 200]], np.float32)
SCORES, NUMBERS = np.array([0.9, 0.6, 0.5], np.float32), np.arange(3)
ANSWER = Answer("0" * 32, "empty", 416, 416, BOXES, SCORES, NUMBERS, NAMES)
PHOTO = Photo(np.zeros((416, 416, 3), np.uint8), 416, 416)


def find_at_once(loaded: Any, query: Query, *_: Any) -> tuple[Answer, Photo]:
    """In the place of ``serving.model.look``: the photo's bytes are there, and so is the answer."""
    image_bytes(query)
    return ANSWER, PHOTO


class Bare(InferenceServicer):
    """The gRPC side of the bare server."""

    def __init__(self, answer: Any) -> None:
        super().__init__(None, None)
        self._answer = answer

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """The same answer to all."""
        return self._answer


async def serve_bare(port: int, grpc_port: int) -> None:
    """Serve both until a signal."""
    app = FastAPI()
    binary, text = (V2Request("0", (), tuple((name, raw) for name in OUTPUTS), None) for raw in (True, False))
    v1 = orjson.dumps(v1_response([ANSWER]))
    v2, (v2_binary, length) = v2_response([ANSWER], text, "hakka")[0], v2_response([ANSWER], binary, "hakka")

    @app.post(PREDICT)
    async def predict(request: Request) -> Response:
        await request.body()
        return Response(v1, media_type="application/json")

    @app.post(INFER)
    async def infer(request: Request) -> Response:
        await request.body()
        if JSON_LENGTH not in request.headers:
            return Response(v2, media_type="application/json")
        return Response(v2_binary, media_type="application/octet-stream", headers={JSON_LENGTH: str(length)})

    beside = grpc.aio.server()
    add_servicer(Bare(make_response([ANSWER], binary, "hakka")), beside)
    beside.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await beside.start()
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="error")).serve()
    await beside.stop(0)


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        uvloop.run(serve_bare(int(sys.argv[2]), int(sys.argv[3])))
    else:
        serving.model.look = find_at_once
        sys.exit(main(sys.argv[2:]))
