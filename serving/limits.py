"""What stands in front of the application: limits that hold before a body is in memory, and the count of requests."""

import asyncio
import time
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import metrics
from serving.admission import Admission, Busy
from serving.connections import CONNECTION

# Bodies that are in memory at the same time, in largest bodies.
BODIES = 8


class BodyTooLargeError(Exception):
    """The body is larger than this server takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body must be at most {limit} bytes")


class Room:
    """Whether one more photo, or more of one, may come in: not when the queue is full or too many bytes are held."""

    def __init__(self, admission: Admission, max_body: int) -> None:
        self.limit = max_body
        self._places = BODIES * max_body
        self._admission = admission
        self._held = 0

    def refuse(self, scope: Scope) -> Busy | None:
        """Why a request must be answered 429, by its headers, counted; None if it may come in."""
        protocol = _protocol(scope)
        if protocol is None or (length := _declared_length(scope)) > self.limit:
            return None
        try:
            self.check(length)
        except Busy as busy:
            metrics.refused("busy")
            metrics.request(protocol, "busy", 0.0)
            return busy
        return None

    def check(self, more: int) -> None:
        """Nothing if one more photo and so many bytes may come in; raises Busy if not."""
        self._admission.check()
        if self._held + more > self._places:
            raise self.busy()

    def busy(self) -> Busy:
        """The refusal of what has no place."""
        return self._admission.busy("the memory for photos that come in is taken")

    def is_over(self, unknown: int) -> bool:
        """More bytes are held than may be, or those of messages of unknown size are more than half of that."""
        return self._held > self._places or unknown > self._places // 2

    def take(self, size: int, total: int) -> None:
        """Count bytes that a request of ``total`` bytes so far holds in memory."""
        self._held += size
        if total > self.limit:
            raise BodyTooLargeError(self.limit)
        if self._held > self._places:
            raise self.busy()

    def give_back(self, size: int) -> None:
        """So many bytes are no longer in memory."""
        self._held -= size


class Gate:
    """ASGI middleware, the first that sees a request that its connection has not refused.

    Unread are refused: a body declared over the limit (413; another one as soon as it passes it), and a photo for which
    there is no ``room`` (429). A request whose client leaves is cancelled.
    """

    def __init__(self, app: ASGIApp, room: Room) -> None:
        self._app = app
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        protocol, start = _protocol(scope), time.perf_counter()
        answer = _Answer(send)
        try:
            await self._serve(scope, receive, answer.send, protocol)
        except asyncio.CancelledError:
            # Only a connection that is gone cancels; uvicorn would call it an exception of the application.
            if not _is_gone(scope):
                raise
        finally:
            if protocol is not None:
                metrics.request(protocol, answer.outcome, time.perf_counter() - start)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, protocol: str | None) -> None:
        connection, length = scope.get(CONNECTION), _declared_length(scope)
        if connection is not None:
            connection.task = asyncio.current_task()
        if length > self._room.limit:
            await refuse_body(None, BodyTooLargeError(self._room.limit))(scope, receive, send)
            return
        body = _Body(self._room, receive)
        try:
            if protocol is not None:
                self._room.check(length)
            await self._app(scope, body.receive, send)
        except Busy as error:
            await refuse_busy(None, error)(scope, receive, send)
        finally:
            self._room.give_back(body.size)


class _Body:
    """The body of one request on its way in."""

    def __init__(self, room: Room, receive: Receive) -> None:
        self._room = room
        self._receive = receive
        self.size = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if size := len(message.get("body", b"")):
            self.size += size
            self._room.take(size, self.size)
        return message


class _Answer:
    """Sees the status that a request was answered with."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        await self._send(message)

    @property
    def outcome(self) -> str:
        """The status as the metrics name it; 499 is what routes call a client that left."""
        known = {0: "gone", 499: "gone", 429: "busy", 504: "expired"}
        return known.get(self._status) or ("ok" if self._status < 400 else "refused" if self._status < 500 else "error")


def _protocol(scope: Scope) -> str | None:
    """The protocol of a request for detection, None for any other request."""
    if scope["method"] != "POST":
        return None
    path = scope["path"]
    return "v1" if path.endswith(":predict") else "v2" if path.endswith("/infer") else None


def _is_gone(scope: Scope) -> bool:
    connection = scope.get(CONNECTION)
    return connection is not None and connection.transport.is_closing()


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def refuse_body(_: Any, error: Exception) -> JSONResponse:
    """The answer to a body that is too large; also the app's handler of ``BodyTooLargeError``."""
    metrics.refused("too_large")
    return JSONResponse({"error": str(error)}, status_code=413)


def refuse_busy(_: Any, error: Busy) -> JSONResponse:
    """The answer when the queue is full, with the whole seconds after which to come again; also the app's handler."""
    metrics.refused("busy")
    return JSONResponse({"error": str(error)}, status_code=429, headers={"retry-after": str(error.seconds)})
