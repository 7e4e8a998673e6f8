"""The connections of gRPC: room for new ones, and a look at what comes in on those that send."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice

from serving.peers import Peers, open_files
from serving.reads import Reads

# Seconds between two looks at the connections while anything is read, so many more while nothing is, and how many times
# the processor's time for a look they are at least.
LOOK_SECONDS = 0.05
IDLE_SECONDS = 0.1
LOOK_SHARE = 20
# Connections that there may be between two looks, in times of those that are kept.
BURST = 2


class Callers:
    """Keeps ``most`` connections, and tells ``reads`` what comes in.

    gRPC cannot let a new one take the place of another, only refuse it. So it takes ``BURST`` times as many, and those
    over ``most`` are ended at the next look: first those from which no message came through yet, the oldest first, then
    those whose last message is longest ago; none that waits for an answer.
    """

    def __init__(self, reads: Reads, most: int) -> None:
        self._reads = reads
        self._most = most
        self._peers = Peers(0)
        self._next_look = 0.0
        self._answered: Counter[str] = Counter()  # calls under way whose message is there, by peer
        self._known: dict[str, None] = {}  # peers of which a message came through, in the order of their last one

    @contextmanager
    def answering(self, peer: str) -> Iterator[None]:
        """A message of a peer came through, and is answered in the block."""
        self._known.pop(peer, None)
        self._known[peer] = None
        self._answered[peer] += 1
        try:
            yield
        finally:
            self._answered[peer] -= 1
            if not self._answered[peer]:
                del self._answered[peer]

    async def watch(self, port: int) -> None:
        """Look again and again at who is connected to the port, until this is cancelled."""
        self._peers = Peers(port)
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._reads.begun.wait(), IDLE_SECONDS)

    def look(self) -> None:
        """See who is there and what came in, unless that was seen just now, or nobody needs to know."""
        now = time.monotonic()
        if now < self._next_look:
            return
        began = time.thread_time()
        if self._reads.begun.is_set() or len(self._known) > self._most or len(open_files()) > self._most:
            self._look(self._peers)
        self._next_look = now + max(LOOK_SECONDS, LOOK_SHARE * (time.thread_time() - began))

    def _look(self, peers: Peers) -> None:
        present = dict.fromkeys(peers.look())
        self._reads.look(peers.received)
        self._known = {peer: None for peer in self._known if peer in present}
        if len(present) > self._most:
            strangers = (peer for peer in present if peer not in self._known)
            unused = (peer for peer in chain(strangers, self._known) if peer not in self._answered)
            for peer in islice(unused, len(present) - self._most):
                peers.hang_up(peer)
