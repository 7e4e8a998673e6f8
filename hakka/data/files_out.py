"""Very many small files: most of the time goes into having the kernel create them, and two processes share that.

Threads would not do: the calls are so short that a thread waits for the interpreter longer than for the kernel.
"""

import marshal
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from hakka.cores import usable_cores
from hakka.data.second_writer import Batch, create_files

_ALONE = 1024  # files that are not worth a second process
_BATCH = 12 * 1024  # bytes that are handed over at a time, or somewhat more
_AHEAD = 4  # batches that the helper may have: they fit into a pipe, so that handing them over takes no waiting
_NAME = 64  # bytes that a file takes beside its content when it is handed over
Pipe = IO[bytes]


def write_files(folder: Path, contents: Iterable[tuple[str, bytes]]) -> None:
    """Write files that are not there yet into an existing folder, by name.

    Raises:
        OSError: a file cannot be written, or is there already.
    """
    waiting = iter(contents)
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        first = list(islice(waiting, _ALONE))
        if len(first) < _ALONE or usable_cores() < 2:
            create_files(here, chain(first, waiting))
            return
        with _Helper(folder) as helper:
            create_files(here, first)
            for batch in _batches(waiting):
                if not helper.take(batch):
                    create_files(here, batch)
    finally:
        os.close(here)


def _batches(contents: Iterable[tuple[str, bytes]]) -> Iterator[Batch]:
    batch: Batch = []
    size = 0
    for item in contents:
        batch.append(item)
        size += len(item[1]) + _NAME
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Helper:
    """The other process. Leaving the context waits until all is written, or after an error ends it at once."""

    def __init__(self, folder: Path) -> None:
        script = Path(__file__).with_name("second_writer.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._orders, self._answers = cast(Pipe, self._process.stdin), cast(Pipe, self._process.stdout)
        os.set_blocking(self._answers.fileno(), False)
        self._has = 0  # batches

    def __enter__(self) -> "_Helper":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._orders.close()
        if error is not None:
            self._process.kill()
        code = self._process.wait()
        self._answers.close()
        if error is None and code:
            raise OSError(
                code, os.strerror(code) if code > 0 else f"the process that writes was ended by signal {-code}"
            )

    def take(self, batch: Batch) -> bool:
        """Take a batch, if there is little left to do."""
        self._has -= len(self._answers.read() or b"")
        if self._has >= _AHEAD:
            return False
        with suppress(BrokenPipeError):  # it has ended, and will tell why on leaving the context
            order = memoryview(marshal.dumps(batch))
            while order:  # a write that is interrupted takes a part
                order = order[self._orders.write(order) :]
        self._has += 1
        return True
