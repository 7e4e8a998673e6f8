"""Several callers' pictures in one inference, where the hardware gives more pictures a second that way."""

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from hakka.boxes import Array
from hakka.detector.engine import Runner
from hakka.errors import InvalidInput

# A batch must win by this factor: it makes a picture wait for others, and a short measurement errs.
LEAST_GAIN = 1.1


class _Place:
    """One caller's picture on its way through a batch."""

    def __init__(self, square: Array) -> None:
        self.square = square
        self.output: Array | None = None
        self.error: BaseException | None = None


class Batcher:
    """Runs up to ``limit`` waiting pictures at once. A picture never waits for others to come, only for the engine.

    There is no thread of its own: the caller that gets the engine runs the oldest waiting pictures for everybody.
    """

    def __init__(self, runner: Runner, limit: int) -> None:
        self._runner = runner
        self._limit = limit
        self._waiting: deque[_Place] = deque()
        self._engine = threading.Lock()

    def __call__(self, squares: Array) -> Array:
        """The raw output of one picture (1, size, size, 3); raises what the runner raised for its batch."""
        place = _Place(squares)
        self._waiting.append(place)
        while place.output is None and place.error is None:
            with self._engine:
                if place.output is None and place.error is None:
                    self._run([self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))])
        if place.error is not None:
            raise place.error
        return np.asarray(place.output)

    def _run(self, places: list[_Place]) -> None:
        try:
            outputs = self._runner(np.concatenate([place.square for place in places]))
            for index, place in enumerate(places):
                place.output = outputs[index : index + 1]
        except BaseException as error:
            for place in places:
                place.error = error


def choose_batch(
    single: Runner, compile_batched: Callable[[int], Runner], *, size: int, streams: int, limit: int
) -> tuple[int, str]:
    """How many pictures an inference should take, ``limit`` or 1, and why.

    Compared are ``streams`` callers of ``single`` with one caller of a batch of ``limit``, for 0.1 s each.
    """
    try:
        batched = compile_batched(limit)
    except InvalidInput:
        return 1, "the model's batch is fixed"
    squares = np.random.default_rng(0).integers(0, 255, (limit, size, size, 3), dtype=np.uint8)
    alone = np.concatenate([single(squares[i : i + 1]) for i in range(limit)])
    together = batched(squares)
    if together.shape != alone.shape or not np.allclose(together, alone, rtol=1e-3, atol=1e-2):
        return 1, "a batch gives other boxes than single pictures"
    one, many = images_a_second(single, squares[:1], streams), images_a_second(batched, squares, 1)
    said = f"measured {one:.0f} images/s singly and {many:.0f} in batches of {limit}"
    return (limit, said) if many > LEAST_GAIN * one else (1, said)


def images_a_second(runner: Runner, squares: Array, callers: int, seconds: float = 0.1) -> float:
    """Images a second that ``callers`` threads get through a runner, each at least one call."""
    counts = [0] * callers
    start = time.perf_counter()

    def call(index: int) -> None:
        while not counts[index] or time.perf_counter() - start < seconds:
            runner(squares)
            counts[index] += 1

    threads = [threading.Thread(target=call, args=(index,)) for index in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) * len(squares) / (time.perf_counter() - start)
