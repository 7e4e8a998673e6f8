"""The REST routes, all of them ours, and what every error looks like: ``{"error": "one sentence"}``.

KServe's own handlers copy tensors element by element, fail on image bytes, drop metadata that they do not know, and
take calls that nothing here stands behind. What a route does is written in ``openapi``.
"""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from fastapi import FastAPI
from prometheus_client import REGISTRY, exposition
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from hakka.errors import InvalidInput
from serving import metrics
from serving.admission import Busy
from serving.fetch import Fetcher
from serving.fields import show
from serving.limits import BodyTooLargeError, refuse_body, refuse_busy
from serving.openapi import describe
from serving.protocol import parse_v1, parse_v2, set_deadline
from serving.refusals import FAILURE, INTERNAL, REFUSALS, refuse
from serving.responses import v1_response, v2_response
from serving.service import Service

JSON = "application/json"
BINARY = "application/octet-stream"
# What curl says of a body unless it is told otherwise.
BODY_TYPES = (JSON, BINARY, "application/x-www-form-urlencoded")
JSON_LENGTH = "inference-header-content-length"
TIMEOUT = "x-request-timeout-ms"
LARGE_BODY = 1024 * 1024

Endpoint = Callable[[Request], Awaitable[Response]]


class _Name(Convertor[str]):
    """A path's part without a colon, which in v1 stands before a verb."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class Routes:
    """The endpoints, over one service; JSON may have ``max_json`` bytes beside its photos."""

    def __init__(self, service: Service, fetcher: Fetcher, max_json: int) -> None:
        self.service = service
        self._fetcher = fetcher
        self._max_json = max_json

    def add_to(self, app: FastAPI) -> None:
        """Put the routes and the OpenAPI document into the app."""
        register_url_convertor("name", _Name())
        model = "/v2/models/{model_name:name}"
        table: dict[str, Endpoint] = {
            "/": self._alive,
            "/metrics": self._metrics,
            "/v1/models": self._models,
            "/v1/models/{model_name:name}": self._model_ready,
            "/v2": self._server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            "/v2/models": self._models,
        }
        for path in (model, f"{model}/versions/{{version:name}}"):
            table |= {path: self._metadata, f"{path}/ready": self._model_ready}
            app.router.routes.append(Route(f"{path}/infer", self._infer, methods=["POST"]))
        app.router.routes.append(Route("/v1/models/{model_name:name}:predict", self._predict, methods=["POST"]))
        app.router.routes.extend(Route(path, endpoint, methods=["GET"]) for path, endpoint in table.items())
        for verb in ("load", "unload"):
            app.router.routes.append(Route(f"/v2/repository/models/{{model_name}}/{verb}", _refuse, methods=["POST"]))
        app.router.redirect_slashes = False
        app.openapi = lambda: describe(self.service.model, self._fetcher.on)  # type: ignore[method-assign]

    async def _predict(self, request: Request) -> Response:
        await self.service.check(request.path_params["model_name"])
        queries = set_deadline(parse_v1(await _body(request), self._max_json), _seconds(request))
        async with self._fetcher.fetched(queries) as photos:
            answers = await self.service.infer(request.path_params["model_name"], "", photos, dict(request.headers))
        with metrics.timed("encode"):
            return _json(v1_response(answers))

    async def _infer(self, request: Request) -> Response:
        name, version = _names(request)
        await self.service.check(name, version)
        asked = parse_v2(await _body(request), _json_length(request), self._max_json)
        answers = await self.service.infer(name, version, asked.before(_seconds(request)), dict(request.headers))
        with metrics.timed("encode"):
            body, json_length = v2_response(answers, asked, name)
        if json_length is None:
            return Response(body, media_type=JSON)
        return Response(body, media_type=BINARY, headers={JSON_LENGTH: str(json_length)})

    async def _metadata(self, request: Request) -> Response:
        return _json(await self.service.metadata(*_names(request)))

    async def _model_ready(self, request: Request) -> Response:
        name, version = _names(request)
        await self.service.check(name, version)
        return _json({"name": name, "ready": True})

    async def _models(self, _: Request) -> Response:
        return _json({"models": [self.service.model.name]})

    async def _server(self, _: Request) -> Response:
        return _json(self.service.server())

    async def _live(self, _: Request) -> Response:
        return _json({"live": True})

    async def _alive(self, _: Request) -> Response:
        return _json({"status": "alive"})

    async def _ready(self, _: Request) -> Response:
        ready = self.service.model.ready
        return _json({"ready": True}) if ready else _error(503, "the server is not ready")

    async def _metrics(self, request: Request) -> Response:
        encoder, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(REGISTRY), headers={"content-type": content_type})


async def _refuse(request: Request) -> Response:
    name = request.path_params["model_name"][:80]
    return _error(400, f"{name}: the channel decides which version is served, a caller cannot load or unload one")


def _names(request: Request) -> tuple[str, str]:
    return request.path_params["model_name"], request.path_params.get("version", "")


async def _body(request: Request) -> bytes:
    """The body, if it is of a kind that can be read; otherwise it is not read at all."""
    for header, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        coding = request.headers.get(header, plain).strip().lower()
        if coding != plain:
            raise HTTPException(415, f"header {header}: a body must not be compressed, got {show(coding)}")
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in BODY_TYPES:
        raise HTTPException(415, f"header Content-Type must be {JSON} or {BINARY}, got {show(kind)}")
    parts = [part async for part in request.stream()]
    # A thread puts large ones together while the others go on.
    large = sum(map(len, parts)) > LARGE_BODY
    return await asyncio.to_thread(b"".join, parts) if large else b"".join(parts)


def _json_length(request: Request) -> str | None:
    lengths = set(request.headers.getlist(JSON_LENGTH))
    if len(lengths) > 1:
        raise InvalidInput(f"header Inference-Header-Content-Length must be given once, got {show(sorted(lengths))}")
    return lengths.pop() if lengths else None


def _seconds(request: Request) -> float | None:
    """The time that the client gives us for the answer."""
    text = request.headers.get(TIMEOUT)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 10):
        raise InvalidInput(f"header X-Request-Timeout-Ms must be whole milliseconds from 0, got {show(text)}")
    return int(text) / 1000


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type=JSON)


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps({"error": sentence}), status, headers, media_type=JSON)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every refusal with ``{"error": "one sentence"}``."""
    for kind in REFUSALS:
        app.add_exception_handler(kind, _refusal)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _refusal)
    app.add_exception_handler(Busy, refuse_busy)  # type: ignore[arg-type]
    app.add_exception_handler(BodyTooLargeError, refuse_body)
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(ClientDisconnect, _gone)


async def _refusal(_: Request, error: Exception) -> Response:
    refusal = refuse(error)
    return _error(refusal.status, INTERNAL if refusal is FAILURE else str(error))


async def _http_error(request: Request, error: HTTPException) -> Response:
    sentence = error.detail
    if error.status_code == 404:
        sentence = f"Not Found: there is nothing at {show(request.url.path)}"
    elif error.status_code == 405:
        sentence = f"Method Not Allowed: {request.method[:20]} is not one of {(error.headers or {}).get('Allow')}"
    elif error.status_code == 415:
        metrics.refused("bad_request")
    return _error(error.status_code, sentence, dict(error.headers or {}))


async def _gone(_: Request, error: Exception) -> Response:
    return _error(499, "the client left before its request was whole")
