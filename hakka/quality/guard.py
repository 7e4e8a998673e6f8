"""Users' own checks: found, and kept from hanging, filling the disk or ending the suite without a word."""

import re
import resource
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hakka.errors import InvalidInput

MAX_SECONDS = 300.0  # that one check of a user may take
MAX_WRITTEN = 1 << 28  # bytes in any one file, such as the one that catches what checks print

_FUNCTION = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+test_(\w+)", re.MULTILINE)


class TooLong(Exception):
    """A check did not come to its end in time."""


def find_checks(folders: Iterable[Path]) -> frozenset[str]:
    """The names (without ``test_``) of all checks in the files ``test_*.py`` of the folders, read and not run.

    Raises:
        InvalidInput: a folder is missing or a file cannot be read.
    """
    names: set[str] = set()
    for folder in folders:
        if not folder.exists():
            raise InvalidInput(f"{folder}: the folder of checks does not exist")
        for path in sorted(folder.rglob("test_*.py")) if folder.is_dir() else [folder]:
            try:
                names.update(_FUNCTION.findall(path.read_text(errors="replace")))
            except OSError as error:
                raise InvalidInput(f"{path}: the file of checks cannot be read: {error.strerror}") from None
    return frozenset(names)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``TooLong`` in the main thread when what is inside takes longer; an endless loop in C is not reached."""

    def stop(number: int, frame: object) -> None:
        raise TooLong(f"a check may take {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again each second: a bare except must not swallow it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limit_files() -> None:
    """From here on, a write that makes a file larger than ``MAX_WRITTEN`` is an OSError in this process."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    allowed = MAX_WRITTEN if most == resource.RLIM_INFINITY else min(MAX_WRITTEN, most)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, most))
