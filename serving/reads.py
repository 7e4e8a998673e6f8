"""Messages on their way in over gRPC, whose size nobody knows before they are there: how many, and how many bytes."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from hakka.errors import HakkaError
from serving.limits import Room

# Messages that are waited for at the same time. Each is a call with its buffers, so there is a limit; but it lies far
# above what callers who do send need, so that those who do not have to be many before anybody notices.
MOST = 256
# Bytes that a connection is thought to have sent of a message before it is first looked at, if it sent so many at all.
CREDIT = 65_536
# Bytes a second that a message is thought to come with until it was looked at.
UNSEEN_PACE = 16_384


class Slow(HakkaError):
    """A message was not there in time."""

    def __init__(self, seconds: float, when: str = "") -> None:
        super().__init__(f"a request must be sent within {seconds:.2g} s{when}")


class _Sender:
    """A connection from which messages are awaited, and what has come in on it since."""

    def __init__(self, now: float) -> None:
        self.reads: dict[_Read, None] = {}
        self.taken = 0  # bytes of messages that are through
        self.held = 0  # bytes of others
        self.pace = 0.0  # bytes a second for each of its messages
        self._since = now
        self._first: int | None = None  # bytes at the first look

    def look(self, received: int, now: float) -> None:
        """So many bytes have come in since it was opened."""
        if self._first is None:
            self._first = received
        came = received - self._first
        self.held = max(came - self.taken, 0)
        # How many came between the beginning and the first look is not known: nearly none if it was silent.
        self.pace = (came + min(self._first, CREDIT)) / max(now - self._since, 0.001) / len(self.reads)


class _Read:
    """One message that is waited for."""

    def __init__(self, sender: _Sender, now: float, seconds: float) -> None:
        self.sender = sender
        self.since = now
        self.timeout = asyncio.timeout(seconds)
        self.reason: HakkaError | None = None


class Reads:
    """Reads messages, each within ``seconds`` and at most ``MOST`` at once; those under way have half of the ``room``.

    Nobody waits for others. One too many ends the slowest, and of equally slow ones the oldest: who sends nothing goes
    before who has just come, and who has just come before who sends a photo over a slow line. When there is no room for
    what comes in, the connection that has brought most of it loses it.
    """

    def __init__(self, room: Room, seconds: float) -> None:
        self._room = room
        self._seconds = seconds
        self._senders: dict[str, _Sender] = {}
        self._open: dict[_Read, None] = {}  # in the order of their coming
        self.begun = asyncio.Event()  # set while anything is read
        self._looked = 0.0
        self._counted = 0  # bytes under way that the room knows of

    @property
    def full(self) -> bool:
        """One more would end another one."""
        return len(self._open) >= MOST

    async def read(self, peer: str, receive: Callable[[], Awaitable[bytes]]) -> bytes:
        """The message that ``receive`` gives, sent by a peer.

        Raises:
            Slow: it was not there in time, or ended for one too many.
            Busy: there was no room for all that came in.
        """
        if self.full:
            self._end_slowest()
        now = time.monotonic()
        sender = self._senders.setdefault(peer, _Sender(now))
        read = _Read(sender, now, self._seconds)
        sender.reads[read] = self._open[read] = None
        self.begun.set()
        content = b""
        try:
            async with read.timeout:
                content = await receive()
        except TimeoutError:
            raise read.reason or Slow(self._seconds) from None
        finally:
            del sender.reads[read]
            self._open.pop(read, None)
            if not sender.reads and self._senders.get(peer) is sender:
                del self._senders[peer]
            if not self._senders:
                self.begun.clear()
            sender.taken += len(content)
            sender.held = max(sender.held - len(content), 0)  # from here on its caller counts it
            self._count()  # perhaps nobody looks until the next one begins
        return content

    def look(self, received: Callable[[str], int | None]) -> None:
        """See how many bytes have come in from each peer. To be called every moment while anything is read."""
        self._looked = time.monotonic()
        for peer, sender in self._senders.items():
            if (count := received(peer)) is not None:
                sender.look(count, self._looked)
        self._count()
        while self._counted and self._room.is_over(self._counted):
            largest = max(self._senders, key=lambda peer: self._senders[peer].held)
            for read in self._senders.pop(largest).reads:
                self._end(read, self._room.busy())
            self._count()

    def _count(self) -> None:
        held = sum(sender.held for sender in self._senders.values())
        self._room.give_back(self._counted - held)
        self._counted = held

    def _end_slowest(self) -> None:
        slowest = min(self._open, key=lambda read: read.sender.pace if read.since < self._looked else UNSEEN_PACE)
        self._end(slowest, Slow(time.monotonic() - slowest.since, " while others wait"))

    def _end(self, read: _Read, reason: HakkaError) -> None:
        self._open.pop(read, None)
        if not read.timeout.expired():
            read.reason = reason
            read.timeout.reschedule(0)
