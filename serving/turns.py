"""Who may send a message whose size is not known before it is there: a few at a time, whatever silent callers do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from hakka.errors import HakkaError
from serving.admission import Busy

# Callers that wait for their turn, and connections that are known to be late.
MOST_WAITING = 128
MOST_LATE = 128
# Callers a turn that may wait before they are a crowd, of whom most will never send; the seconds within which a crowd
# has its turns; and the least seconds of a turn in it.
CROWD = 3
CROWD_SECONDS = 0.5
LEAST = 0.05
# Seconds for which a late connection's turn is left to it while one waits that is not late.
LATE_HURRY = 0.25


class Slow(HakkaError):
    """A message was not there in time."""

    def __init__(self, seconds: float, when: str = "") -> None:
        super().__init__(f"a request must be sent within {seconds:.2g} s{when}")


class _Caller(NamedTuple):
    """Whose call it is, and since when it waits or sends."""

    connection: str
    since: float


class Turns:
    """Who may send a message whose size is not known before: ``most`` at a time, two or more.

    Waiting and sending have ``seconds`` together. While others wait, a turn lasts ``hurry`` seconds, and they end one
    after the other; in a crowd they are so short that it has them all within ``CROWD_SECONDS``. The next turn is that
    of the newest who waits, for callers that never send are many only if they have come before; in a crowd that of the
    oldest, for there they come again at once. One too many takes the place of the oldest.

    How much of a message is there cannot be seen, so who never sends is told from who is slow by what came before: a
    connection whose turn was ended is late until one of its messages comes through. Late ones wait behind all others,
    leave the last free turn to them, have theirs ended first, and end no turn of others in less than ``hurry`` seconds.
    """

    def __init__(self, most: int, seconds: float, hurry: float) -> None:
        self._most = self._free = most
        self._seconds = seconds
        self._hurry = hurry
        self._waiting: dict[asyncio.Future[None], _Caller] = {}  # in the order of their coming
        self._sending: dict[asyncio.Timeout, _Caller] = {}  # in the order of their turns
        self._late: dict[str, None] = {}  # connections, in the order of their last end
        self._ended = 0.0  # when a turn was last ended
        self._next_end: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(self, connection: str) -> AsyncIterator[None]:
        """The block is a turn; when it ends without an error, the connection is not late.

        Raises:
            Busy: too many wait, this one longest.
            Slow: the time is over, or the turn was ended for those who wait.
        """
        sending, loop = asyncio.timeout(None), asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._seconds):
                await self._wait(connection)
                began = loop.time()
                try:
                    async with sending:
                        self._sending[sending] = _Caller(connection, began)
                        self._plan_end()
                        yield
                    self._late.pop(connection, None)
                finally:
                    self._sending.pop(sending, None)
                    self._pass_on()
        except TimeoutError:
            lasted = loop.time() - began
            raise (Slow(lasted, " while others wait") if sending.expired() else Slow(self._seconds)) from None

    async def _wait(self, connection: str) -> None:
        caller = _Caller(connection, asyncio.get_running_loop().time())
        if self._free > self._is_late(caller):
            self._free -= 1
            return
        if len(self._waiting) >= MOST_WAITING:
            self._send_away()
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = caller
        self._plan_end()
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None):
                self._plan_end()
            elif not turn.cancelled() and turn.exception() is None:  # its turn had come just then
                self._pass_on()
            raise

    def _send_away(self) -> None:
        """End the waiting of the oldest, of those that are late if there are any."""
        oldest = next((turn for turn, caller in self._waiting.items() if self._is_late(caller)), None)
        oldest = oldest or next(iter(self._waiting))
        del self._waiting[oldest]
        if not oldest.done():  # its client may have left this moment
            oldest.set_exception(Busy(f"{MOST_WAITING} others wait to send their message", self._hurry))

    def _pass_on(self) -> None:
        """A turn is over: give what is free to those who wait."""
        self._free += 1
        while (turn := self._next()) is not None:
            del self._waiting[turn]
            if not turn.done():
                turn.set_result(None)
                self._free -= 1
        self._plan_end()

    def _next(self) -> asyncio.Future[None] | None:
        """Who has the next turn, None if nobody may have one."""
        if not self._free:
            return None
        order = list(self._waiting if self._is_crowd() else reversed(self._waiting))
        punctual = (turn for turn in order if not self._is_late(self._waiting[turn]))
        return next(punctual, order[0] if order and self._free > 1 else None)

    def _plan_end(self) -> None:
        """Set the clock for the next turn that has to end, after every change of who waits and who sends."""
        if self._next_end is not None:
            self._next_end.cancel()
            self._next_end = None
        if not (self._waiting and self._sending):
            return
        late = next((turn for turn, caller in self._sending.items() if self._is_late(caller)), None)
        punctual = next((caller.since for caller in self._waiting.values() if not self._is_late(caller)), None)
        longest = late or next(iter(self._sending))
        began = self._sending[longest].since
        # Late ones may be as many as they like: others have their time.
        crowd = self._is_crowd() and (late or punctual is not None)
        lasts = max(CROWD_SECONDS * self._most / len(self._waiting), LEAST) if crowd else self._hurry
        every = lasts / self._most
        if late and punctual is not None:
            end = max(began, punctual) + min(lasts, LATE_HURRY)
        else:
            first = next(iter(self._waiting.values())).since if punctual is None else punctual
            end = max(began + lasts, self._ended + every, first + every)
        self._next_end = asyncio.get_running_loop().call_at(end, self._end, longest)

    def _end(self, sending: asyncio.Timeout) -> None:
        """End a turn for those who wait."""
        connection = self._sending.pop(sending).connection
        self._late.pop(connection, None)
        self._late[connection] = None
        if len(self._late) > MOST_LATE:
            del self._late[next(iter(self._late))]
        self._ended = asyncio.get_running_loop().time()
        sending.reschedule(self._ended)

    def _is_crowd(self) -> bool:
        return len(self._waiting) > CROWD * self._most

    def _is_late(self, caller: _Caller) -> bool:
        return caller.connection in self._late
