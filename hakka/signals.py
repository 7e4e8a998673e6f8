"""Signals that ask for an end, as one exception."""

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP came."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise :class:`Interrupted` wherever the block is when the first such signal comes; later ones are ignored.

    One that was held comes in at once.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        ignore_signals()  # a second Ctrl-C must not break the tidying up
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        release_signals()
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def hold_signals() -> None:
    """Let such signals wait for :func:`release_signals`, also while this process becomes another program.

    An interpreter that starts answers Ctrl-C with a traceback of its own.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def release_signals() -> None:
    """Let the signals come in that were held."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def ignore_signals() -> None:
    """Let nothing cut off what has to be finished now."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def end_with_parent() -> None:
    """Have Linux ask this process to end when its parent is gone, however that ended; what a child begins with."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
