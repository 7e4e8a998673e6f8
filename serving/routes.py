"""The REST routes that are ours: predict, infer and the model's metadata. KServe's own serve the rest.

KServe's handlers of the first two copy tensors element by element and fail on image bytes, and its metadata route drops
every field that it does not know, so these three paths are taken before it registers its own.
"""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hakka.errors import InvalidInput
from serving.framework import DataPlane, KServeInvalidInput, ModelNotFound, ModelNotReady
from serving.limits import BodyTooLargeError, refuse_body
from serving.model import HakkaModel
from serving.protocol import parse_v1, parse_v2
from serving.responses import v1_response, v2_response

JSON_LENGTH = "inference-header-content-length"


def add_routes(app: FastAPI, plane: DataPlane, model: HakkaModel) -> None:
    """Put our routes into the app; call it before KServe adds its own."""

    async def predict(model_name: str, request: Request) -> JSONResponse:
        """Detect food on base64 photos (v1)."""
        await _check_ready(plane, model_name)
        answers, _ = await plane.infer(model_name, parse_v1(await request.body()), dict(request.headers))
        return JSONResponse(v1_response(answers))

    async def infer(model_name: str, request: Request) -> Response:
        """Detect food on one photo (Open Inference Protocol v2, JSON or binary tensors)."""
        await _check_ready(plane, model_name)
        asked = parse_v2(await request.body(), request.headers.get(JSON_LENGTH))
        [answer], _ = await plane.infer(model_name, [asked.query], dict(request.headers))
        body, json_length = v2_response(answer, asked, model_name)
        if json_length is None:
            return Response(body, media_type="application/json")
        return Response(body, media_type="application/octet-stream", headers={JSON_LENGTH: str(json_length)})

    async def metadata(model_name: str) -> JSONResponse:
        """What is served: version, classes, thresholds, revisions of data and code."""
        return JSONResponse({**await plane.model_metadata(model_name), **describe(model)})

    # KServe's routes of the same paths stay in the OpenAPI document, so ours are left out of it.
    for path, method, endpoint in (
        ("/v1/models/{model_name}:predict", "POST", predict),
        ("/v2/models/{model_name}/infer", "POST", infer),
        ("/v2/models/{model_name}", "GET", metadata),
    ):
        app.add_api_route(path, endpoint, methods=[method], response_model=None, include_in_schema=False)


async def _check_ready(plane: DataPlane, model_name: str) -> None:
    if not await plane.model_ready(model_name):
        raise ModelNotReady(model_name)


def describe(model: HakkaModel) -> dict[str, Any]:
    """The part of the metadata that comes from ``model.json``."""
    info = model.versions.current.detector.info
    facts = {key: info.raw.get(key) for key in ("version", "imgsz", "thresholds", "data", "code", "metrics", "created")}
    return {"versions": [info.version], "platform": "openvino", "parameters": {**facts, "classes": list(info.names)}}


def add_error_handlers(app: FastAPI) -> None:
    """Answer every refusal with ``{"error": "one sentence"}``; call it after KServe has added its own handlers."""
    app.add_exception_handler(InvalidInput, _answer(400))
    app.add_exception_handler(KServeInvalidInput, _answer(400))
    app.add_exception_handler(NotImplementedError, _answer(501))
    app.add_exception_handler(BodyTooLargeError, refuse_body)
    app.add_exception_handler(ModelNotFound, _answer(404))
    app.add_exception_handler(ModelNotReady, _answer(503))
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _answer(499))


def _answer(status: int) -> Any:
    async def handler(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=status)

    return handler


async def _http_error(_: Request, error: Any) -> JSONResponse:
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)
