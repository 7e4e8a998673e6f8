"""The server process around the model: one open socket, KServe's application, an end that loses no request."""

import asyncio
import signal
import socket
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from serving.connections import limited
from serving.fetch import Fetcher
from serving.framework import (
    ModelServer,
    RESTServer,
    configure_logging,
)
from serving.grpc_v2 import grpc_server
from serving.limits import Gate, Room
from serving.model import HakkaModel
from serving.routes import Routes, add_error_handlers
from serving.service import Service

# Longest wait for requests that are under way when the process is told to stop; Kubernetes kills after 30 s by default.
GRACE_SECONDS = 25


def quiet_logs() -> None:
    """One line a noteworthy event on standard error, none a request."""
    warnings.filterwarnings("ignore", module="PIL")  # what a photo's head says is no business of the log
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")  # KServe's, on its first response
    levels = {"hakka": "INFO", "kserve": "ERROR", "kserve.trace": "ERROR", "uvicorn": "ERROR"}
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


@dataclass(frozen=True)
class Limits:
    """Most bytes of a body, and of JSON beside photos; most seconds for sending a request; most connections a port."""

    max_body: int
    max_json: int
    body_seconds: float
    max_connections: int


def serve(model: HakkaModel, fetcher: Fetcher, ports: Ports, limits: Limits, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; then refuse new requests, answer those under way, close the model and return."""
    kserve = ModelServer(enable_grpc=False, enable_latency_logging=False)
    kserve.register_model(model)
    service = Service(kserve.dataplane, model)
    rest = _Rest(kserve, Routes(service, fetcher, limits.max_json), limits, ready)
    # Uvicorn takes both signals once it runs, drains, and then raises them again for the handlers from before: these.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: rest.stop())
    try:
        with asyncio.Runner(loop_factory=rest.config.get_loop_factory()) as runner:
            runner.run(_serve(rest, service, ports, limits))
    finally:
        model.close()


async def _serve(rest: "_Rest", service: Service, ports: Ports, limits: Limits) -> None:
    if ports.grpc is None:
        await rest.serve(ports.rest)
        return
    async with grpc_server(service, ports.grpc, rest.room, limits.body_seconds, limits.max_connections) as grpc:
        await rest.serve(ports.rest, beside=lambda: grpc.stop(GRACE_SECONDS))


class _Rest(RESTServer):
    """KServe's REST server with our routes and errors, a body limit, and no log line a request."""

    def __init__(self, kserve: ModelServer, routes: Routes, limits: Limits, ready: Callable[[], None]) -> None:
        super().__init__(
            "kserve.model_server:app",
            kserve.dataplane,
            kserve.model_repository_extension,
            kserve.http_port,
            grace_period=GRACE_SECONDS,
        )
        self.config.access_log = False
        self.room = Room(routes.service.model.admission, limits.max_body)
        self.config.http = limited(limits.body_seconds, limits.max_connections, self.room.refuse)
        self.config.ws = "none"
        self._routes = routes
        self._server = _Announcing(self.config, ready)

    def _add_middlewares(self, app: FastAPI) -> None:
        # In place of KServe's own, which times every request for a log line that quiet_logs turns off.
        app.add_middleware(Gate, room=self.room)

    def _register_endpoints(self, app: FastAPI) -> None:
        self._routes.add_to(app)

    def _add_exception_handlers(self, app: FastAPI) -> None:
        add_error_handlers(app)

    def stop(self) -> None:
        """End ``serve``, also one that has not begun."""
        self._server.should_exit = True

    async def serve(self, listener: socket.socket, beside: Callable[[], Awaitable[Any]] | None = None) -> None:
        """Serve on an open socket until a signal; ``beside`` is what else drains when REST does."""
        self.create_application()
        self._server.beside = beside
        await self._server.serve(sockets=[listener])


class _Announcing(uvicorn.Server):
    """Calls ``ready`` once requests are accepted, and drains what runs ``beside`` it in the same time."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self.beside: Callable[[], Awaitable[Any]] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse what is new, wait for what is under way."""
        stops = [super().shutdown(sockets)]
        if self.beside is not None:
            stops.append(self.beside())
        await asyncio.gather(*stops)
