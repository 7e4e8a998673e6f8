"""The server process around the model: one open socket, KServe's application, an end that loses no request."""

import asyncio
import signal
import socket
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from serving.framework import (
    KServeInvalidInput,
    ModelRepositoryExtension,
    ModelServer,
    RESTServer,
    app,
    configure_logging,
)
from serving.grpc_v2 import start_grpc
from serving.limits import BodyLimit
from serving.model import HakkaModel
from serving.routes import add_error_handlers, add_routes

# Longest wait for requests that are under way when the process is told to stop; Kubernetes kills after 30 s by default.
GRACE_SECONDS = 25


def quiet_logs() -> None:
    """One line a noteworthy event on standard error, none a request."""
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # KServe's, on its first response
    levels = {"hakka": "INFO", "kserve": "ERROR", "kserve.trace": "ERROR", "uvicorn": "WARNING"}
    configure_logging(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "loggers": {
                name: {"level": level, "handlers": ["stderr"], "propagate": False} for name, level in levels.items()
            },
        }
    )


@dataclass(frozen=True)
class Ports:
    """The open REST socket, and where gRPC listens if it does."""

    rest: socket.socket
    grpc: str | None


def serve(model: HakkaModel, ports: Ports, *, max_body: int, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; then refuse new requests, answer those under way, close the model and return."""
    kserve = ModelServer(enable_grpc=False, enable_latency_logging=False)
    kserve.register_model(model)
    rest = _Rest(kserve, model, max_body, ready)
    # Uvicorn takes both signals once it runs, drains, and then raises them again for the handlers from before: these.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: rest.stop())
    try:
        with asyncio.Runner(loop_factory=rest.config.get_loop_factory()) as runner:
            runner.run(_serve(kserve, rest, ports, max_body))
    finally:
        model.close()


async def _serve(kserve: ModelServer, rest: "_Rest", ports: Ports, max_body: int) -> None:
    if ports.grpc is None:
        await rest.serve(ports.rest)
        return
    grpc = await start_grpc(kserve.dataplane, _NoRepository(kserve.registered_models), ports.grpc, max_body)
    try:
        await rest.serve(ports.rest)
    finally:
        await grpc.stop(GRACE_SECONDS)


class _NoRepository(ModelRepositoryExtension):
    """Refuses KServe's load and unload calls, with which any caller could take the model away."""

    async def load(self, model_name: str) -> None:
        """Refuse."""
        raise KServeInvalidInput(f"{model_name}: the channel decides which version is served, a caller cannot load one")

    async def unload(self, model_name: str) -> None:
        """Refuse."""
        raise KServeInvalidInput(f"{model_name}: the channel decides which version is served, a caller cannot end it")


class _Rest(RESTServer):
    """KServe's REST server with our routes and errors, a body limit, and no log line a request."""

    def __init__(self, kserve: ModelServer, model: HakkaModel, max_body: int, ready: Callable[[], None]) -> None:
        super().__init__(
            "kserve.model_server:app",
            kserve.dataplane,
            _NoRepository(kserve.registered_models),
            kserve.http_port,
            grace_period=GRACE_SECONDS,
        )
        self.config.access_log = False
        self._model = model
        self._max_body = max_body
        self._server = _Announcing(self.config, ready)

    def create_application(self) -> None:
        """Complete KServe's application: the first route of a path wins, the last handler of an error does."""
        add_routes(app, self.dataplane, self._model)
        super().create_application()
        add_error_handlers(app)

    def _add_middlewares(self, app: FastAPI) -> None:
        # In place of KServe's own, which times every request for a log line that quiet_logs turns off.
        app.add_middleware(BodyLimit, limit=self._max_body)

    def stop(self) -> None:
        """End ``serve``, also one that has not begun."""
        self._server.should_exit = True

    async def serve(self, listener: socket.socket) -> None:
        """Serve on an open socket until a signal."""
        self.create_application()
        await self._server.serve(sockets=[listener])


class _Announcing(uvicorn.Server):
    """Calls ``ready`` once requests are accepted."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._ready()
