"""One client connection: how long a request may take to come, how many there may be, and whom it refuses itself."""

import asyncio
import sys
from collections.abc import Callable
from itertools import chain
from typing import Any, ClassVar

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from serving import metrics
from serving.admission import Busy

# Why a request is refused by its ASGI scope, None if it is not.
Door = Callable[[Any], Busy | None]

# The key of an ASGI scope under which a request finds its connection.
CONNECTION = "hakka.connection"
# Bytes of a request that are not its body: request line, headers, what stands between chunks. A longer header is slow
# to put together, and held in memory. Chunks of a byte each have five bytes of their own.
MAX_HEAD = 65_536
BODY_WEIGHT = 9
CLOSE = (b"connection", b"close")


class Connection(HttpToolsProtocol):
    """Uvicorn's connection with limits that it lacks; ``limited`` makes the class for a server.

    A request must be there, headers and body, ``seconds`` after its first byte (and the first one after the connection
    was opened): otherwise 408 and the end. When ``most`` connections are open, another one takes the place of the one
    that has been sending or idling longest, of those that never sent a whole request if there are any: so a health
    check comes through whatever the others do. And the task of a request whose client has left is cancelled. A request
    whose headers are longer than ``MAX_HEAD`` bytes is ended with 431. What is no HTTP is ended with 400. Whom the
    ``door`` refuses is answered 429 here: what comes beyond capacity should take little time from what is served, and
    the application's way to an answer takes three times as much.
    """

    seconds: ClassVar[float]
    most: ClassVar[int]
    door: ClassVar[Door]
    # All that are open: those of which no whole request has come yet, as they came, and the others, the one whose last
    # request is longest ago first.
    fresh: ClassVar[dict["Connection", None]]
    known: ClassVar[dict["Connection", None]]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.task: asyncio.Task[Any] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._head = 0
        self._refused = False
        self._unread: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the connection on."""
        if len(self.fresh) + len(self.known) >= self.most:
            self._make_room()
        self.fresh[self] = None
        super().connection_made(transport)
        self._expect_request()

    def _make_room(self) -> None:
        unserved = next((other for other in chain(self.fresh, self.known) if not other.is_served()), None)
        if unserved is not None:
            unserved._forget()  # it is lost a moment later, and another one may come before
            unserved.transport.abort()

    def _forget(self) -> None:
        self.fresh.pop(self, None)
        self.known.pop(self, None)

    def is_served(self) -> bool:
        """A whole request of it is being answered."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests in."""
        self._head += len(data)
        self._refused, self._unread = False, data
        super().data_received(data)
        self._unread = None
        if self._head > MAX_HEAD and not self.transport.is_closing():
            self._end(431, f"the headers must be at most {MAX_HEAD} bytes")

    def on_body(self, body: bytes) -> None:
        """Some of a request's body is there."""
        self._head -= BODY_WEIGHT * len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._end(400, "this is not an HTTP request that can be read")

    def on_message_begin(self) -> None:
        """A request's first byte is there."""
        self._head = 0
        super().on_message_begin()
        self.scope[CONNECTION] = self  # type: ignore[typeddict-unknown-key]
        if self._late is None:
            self._expect_request()

    def on_headers_complete(self) -> None:
        """The headers of a request are there; such as offer another protocol come once more, without the offer."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def _unsupported_upgrade_warning(self) -> None:
        # Java's clients offer HTTP/2 with their first request. The parser takes what follows such headers for the other
        # protocol, and uvicorn the body for the next request.
        kept = [header for header in self.headers if header[0] != b"upgrade"]
        if self._unread is None or len(kept) == len(self.headers):  # the second one in a read; CONNECT
            self.send_400_response("")
            return
        rest, self._unread = self._unread[sys.exc_info()[1].args[0] :], None  # type: ignore[union-attr]
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = (b"%b: %b\r\n" % header for header in kept)
        # A new one, as the old one passes over what follows a request after which the connection is to be closed.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        super().data_received(b"".join([line, *lines, b"\r\n", rest]))

    def on_message_complete(self) -> None:
        """A request is there as a whole."""
        if self.parser.should_upgrade():
            return
        self._head = 0
        self._stop_waiting()
        self._forget()
        self.known[self] = None
        super().on_message_complete()
        if self.cycle.response_complete:
            self._idle()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # One a read, and none with others behind it: these take turns with other connections' requests in the loop. And
        # none to a client that does not read its answers: the application's wait until it does.
        waits = self._refused or self.pipeline or self.flow.write_paused
        busy = None if waits else self.door(cycle.scope)
        if busy is None:
            self._unset_keepalive_if_required()
            super()._start_asgi_task(cycle, app)
            return
        self._refused = cycle.response_started = cycle.response_complete = True
        # A client that was to be told to go on might leave the body out, and the next request would be taken for it.
        cycle.keep_alive = cycle.keep_alive and not cycle.waiting_for_100_continue
        end = () if cycle.keep_alive else (CLOSE,)
        self._write(429, str(busy), (b"retry-after", b"%d" % busy.seconds), *end)
        cycle.on_response()
        if not cycle.more_body and not cycle.keep_alive:
            self.transport.close()

    def _idle(self) -> None:
        """Wait for the next request after one that was answered before its body was there, if there is to be one."""
        self._unset_keepalive_if_required()
        if not self.cycle.keep_alive:
            self.transport.close()  # not before: unread bytes would reset the connection, and the answer be lost
        elif not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left, or was sent away."""
        self._stop_waiting()
        self._forget()
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
        if self.scope is not None and not self._is_answered():
            metrics.refused("slow_body")
            self._end(408, f"a request must be sent within {self.seconds:g} s")
        self.transport.close()

    def _is_answered(self) -> bool:
        """A request that is not there as a whole has an answer: a second one would be taken for the next request's."""
        # The scope is that of the newest request, the cycle only once its headers were whole.
        cycle = self.cycle
        started = cycle is not None and cycle.scope is self.scope and cycle.response_started
        return started and (cycle.more_body or not cycle.response_complete)

    def _end(self, status: int, sentence: str) -> None:
        """Answer with an error if there is no answer yet, whatever the client still sends, and close the connection."""
        if not self._is_answered():
            self._write(status, sentence, CLOSE)
        self.transport.close()

    def _write(self, status: int, sentence: str, *headers: tuple[bytes, bytes]) -> None:
        body = orjson.dumps({"error": sentence})
        own = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
        lines = (b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *own, *headers))
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))


def limited(seconds: float, most: int, door: Door) -> type[Connection]:
    """The connection class of a server with these limits."""
    own = {"seconds": seconds, "most": most, "door": staticmethod(door), "fresh": {}, "known": {}}
    return type("LimitedConnection", (Connection,), own)
