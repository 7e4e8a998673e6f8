"""One client connection: how long it may take to send a request, how many there may be, and what if it leaves."""

import asyncio
from typing import Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import metrics

# The key of an ASGI scope under which a request finds its connection.
CONNECTION = "hakka.connection"
# Bytes of a request that are not its body: request line, headers, what stands between chunks. A longer header is slow
# to put together, and held in memory. Chunks of a byte each have five bytes of their own.
MAX_HEAD = 65_536
BODY_WEIGHT = 9


class Connection(HttpToolsProtocol):
    """Uvicorn's connection with four limits that it lacks; ``limited`` makes the class for a server.

    A request must be there, headers and body, ``seconds`` after its first byte (and the first one after the connection
    was opened): otherwise 408 and the end. When ``most`` connections are open, another one takes the place of the one
    that has been sending or idling longest, so that a health check comes through whatever the others do. And the task
    of a request whose client has left is cancelled. A request whose headers are longer than ``MAX_HEAD`` bytes is ended
    with 431. What is no HTTP is ended with 400.
    """

    seconds: ClassVar[float]
    most: ClassVar[int]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.task: asyncio.Task[Any] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._opened = 0.0
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the connection on."""
        if len(self.connections) >= self.most:
            self._make_room()
        super().connection_made(transport)
        self._opened = self.loop.time()
        self._expect_request()

    def _make_room(self) -> None:
        unserved = [other for other in self.connections if isinstance(other, Connection) and not other.is_served()]
        if unserved:
            min(unserved, key=lambda other: other._opened).transport.abort()

    def is_served(self) -> bool:
        """A whole request of it is being answered."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests in."""
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self._end("431 Request Header Fields Too Large", f"the headers must be at most {MAX_HEAD} bytes")

    def on_body(self, body: bytes) -> None:
        """Some of a request's body is there."""
        self._head -= BODY_WEIGHT * len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._end("400 Bad Request", "this is not an HTTP request that can be read")

    def on_message_begin(self) -> None:
        """A request's first byte is there."""
        self._head = 0
        super().on_message_begin()
        self.scope[CONNECTION] = self  # type: ignore[typeddict-unknown-key]
        if self._late is None:
            self._expect_request()

    def on_message_complete(self) -> None:
        """A request is there as a whole."""
        self._head = 0
        self._stop_waiting()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left, or was sent away."""
        self._stop_waiting()
        unanswered = self.cycle is not None and not self.cycle.response_complete
        super().connection_lost(exc)
        if unanswered and self.task is not None:
            self.task.cancel()

    def _expect_request(self) -> None:
        self._late = self.loop.call_later(self.seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        # The scope is that of the newest request, the cycle only once its headers were whole.
        answered = self.cycle is not None and self.cycle.scope is self.scope and self.cycle.response_started
        if self.scope is not None and not answered:
            metrics.refused("slow_body")
            self._end("408 Request Timeout", f"a request must be sent within {self.seconds:g} s")
        self.transport.close()

    def _end(self, status: str, sentence: str) -> None:
        """Answer with an error, whatever the client still sends, and close the connection."""
        body = orjson.dumps({"error": sentence})
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self.transport.write(f"{head}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


def limited(seconds: float, most: int) -> type[Connection]:
    """The connection class of a server with these limits."""
    return type("LimitedConnection", (Connection,), {"seconds": seconds, "most": most})
