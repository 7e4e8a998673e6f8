"""Who may wait for a worker: a pool with a bounded queue in front of it, first come, first served."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from hakka.errors import HakkaError
from serving import metrics
from serving.priority import WORKING, step_back

T = TypeVar("T")

# Without a number, the queue holds what the workers get done in a second, but at least so many jobs a worker.
PLACES_A_WORKER = 8
MOST_PLACES = 1000
# How much of the newest job's time goes into the mean that Retry-After is reckoned with.
NEWEST_SHARE = 0.1
# Seconds after which a refused caller is let come again at the soonest.
SOONEST = 0.1
# Jobs are apart when none has met another one in this many times a job's mean time.
APART = 3


class Busy(HakkaError):
    """There is no place; ``retry_after`` is the time in seconds after which one should be free."""

    def __init__(self, reason: str, retry_after: float) -> None:
        self.retry_after = max(retry_after, SOONEST)
        super().__init__(f"{reason}; try again in {self.retry_after:.1f} s")

    @property
    def seconds(self) -> int:
        """The time in whole seconds, as the header Retry-After has it."""
        return math.ceil(self.retry_after)


class Expired(HakkaError):
    """The request's deadline passed before its answer was there."""

    def __init__(self) -> None:
        super().__init__("the request's deadline passed before its answer was there")


class _Job(Generic[T]):
    """A job in the queue. What it holds is let go when it ends, also when it is given up before its turn."""

    def __init__(self, work: Callable[[], T], deadline: float | None) -> None:
        self.work: Callable[[], T] | None = work
        self.deadline = deadline
        self.queued = time.perf_counter()


class Admission:
    """``workers`` threads and at most ``places`` jobs that wait for them (0: about a second's work).

    Every job runs once, in the order of ``run``, unless it is given up: its task was cancelled (the client left) or its
    deadline passed while it waited. ``run`` is called from the event loop, everything else from anywhere.
    """

    def __init__(self, workers: int, places: int = 0) -> None:
        self.workers = workers
        self._places = places
        self._pool = ThreadPoolExecutor(workers, "detect", step_back, (WORKING,))
        self._lock = threading.Lock()
        self._taken = 0
        self._seconds = 0.05  # a job's mean time, here until jobs have been measured
        self._met = -math.inf  # when a job last found others before it

    @property
    def places(self) -> int:
        """Jobs that may wait."""
        a_second = min(int(self.workers / self._seconds), MOST_PLACES)
        return self._places or max(a_second, self.workers * PLACES_A_WORKER)

    @property
    def running(self) -> int:
        """Jobs that a worker has."""
        return min(self._taken, self.workers)

    @property
    def waiting(self) -> int:
        """Jobs that wait for a worker."""
        return max(self._taken - self.workers, 0)

    @property
    def alone(self) -> bool:
        """One job is running, none waits, and so it has been for a while.

        Two callers who ask again as soon as they are answered leave gaps, in which a job that takes all cores for
        itself would be in the way of the next one.
        """
        return self._taken <= 1 and time.perf_counter() - self._met > APART * self._seconds

    def check(self, jobs: int = 1) -> None:
        """Nothing, if so many jobs would be taken now. More than there are places are taken when nobody waits.

        Raises:
            Busy: they would not.
        """
        taken = self._taken
        if taken + jobs > self.workers + self.places and taken >= self.workers:
            raise self.busy(f"the queue is full with {self.waiting} photos waiting", jobs)

    def busy(self, reason: str, jobs: int = 1) -> Busy:
        """The refusal of so many jobs, with the time that those ahead of them need."""
        return Busy(reason, (self.waiting + jobs) * self._seconds / self.workers)

    async def run(self, works: Sequence[Callable[[], T]], deadline: float | None = None) -> list[T]:
        """The results of some jobs of one request, in order; ``deadline`` is a ``time.monotonic()``.

        Raises:
            Busy: there is no place for all of them.
            Expired: the deadline passed.
            Exception: what the first job to fail raised; those that have not begun are given up.
        """
        self.check(len(works))
        futures = [self._submit(_Job(work, deadline)) for work in works]
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                return await asyncio.gather(*futures)
        except TimeoutError:
            raise Expired from None
        finally:
            for future in futures:
                future.cancel()

    def _submit(self, job: _Job[T]) -> "asyncio.Future[T]":
        with self._lock:
            if self._taken:
                self._met = job.queued
            self._taken += 1

        def ended(_: Future[Any]) -> None:
            job.work = None
            with self._lock:
                self._taken -= 1

        future = self._pool.submit(self._work, job)
        future.add_done_callback(ended)
        return asyncio.wrap_future(future)

    def _work(self, job: _Job[T]) -> T:
        start, work = time.perf_counter(), job.work
        metrics.stage("queue", start - job.queued)
        if work is None or (job.deadline is not None and time.monotonic() >= job.deadline):
            raise Expired
        try:
            return work()
        finally:
            taken = max(time.perf_counter() - start, 1e-6)
            self._seconds += NEWEST_SHARE * (taken - self._seconds)

    def aside(self, work: Callable[..., object], *arguments: object) -> None:
        """Let a worker do something for which nobody waits, behind what is queued."""
        self._pool.submit(work, *arguments)

    def close(self) -> None:
        """Finish everything that was taken."""
        self._pool.shutdown(wait=True)
