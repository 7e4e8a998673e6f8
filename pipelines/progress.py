"""kfp.local's chatter as plain lines: a step starts, speaks, and ends after so many seconds.

kfp reports what it does through the root logger and prints what a step writes, indented, among rules, blank lines and a
dump of the step's input. :class:`Progress` stands in both places: all goes to the log, what matters to the person.
"""

import io
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from hakka import errors

SHORT_NAMES = {"evaluate-champion": "evaluate champion"}
KFP_LINES = (
    "Looking for component",
    "Loading KFP component",
    "Wrote executor output",
    "Did not write output",
    "--component_m",
)
CHAIN_LINES = ("During handling of the above exception", "The above exception was the direct cause")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
EXECUTOR = re.compile(r"\[KFP Executor [^\]]*\]: (.*)")
STARTED = re.compile(r"Executing task '(.+)'")
ENDED = re.compile(r"Task '(.+)' finished with status (SUCCESS|FAILURE)")
REUSED = re.compile(r"Task (\S+) cache hit")
OWN_ERROR = re.compile(r"hakka\.errors\.(\w+): (.*)")


@dataclass(frozen=True)
class Step:
    """One step of a run; ``state`` is done, reused or failed."""

    name: str
    state: str
    seconds: float


@dataclass(frozen=True)
class Failure:
    """Why a run ended early, in one sentence, and what the command line returns for it."""

    sentence: str
    exit_code: int


class Progress(io.TextIOBase):
    """A text stream to print into, and a filter for the root logger."""

    def __init__(self, log: TextIO, show: Callable[[str], None]) -> None:
        self.steps: list[Step] = []
        self.failure: Failure | None = None
        self._log = log
        self._show = show
        self._pending = ""
        self._started = 0.0
        self._in_dump = self._in_traceback = False
        self._error = ""

    def writable(self) -> bool:
        """Text may be written."""
        return True

    def write(self, text: str) -> int:
        """Take a piece of what kfp prints; it is shown by whole lines."""
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._log.write(line + "\n")
            self._take(line.removeprefix("    ").rstrip())
        self._log.flush()
        return len(text)

    def filter(self, record: logging.LogRecord) -> bool:
        """Take a message of kfp's own; none goes further."""
        message = COLOUR.sub("", record.getMessage())
        self._log.write(f"kfp: {message}\n")
        if match := STARTED.search(message):
            self._started, self._error = time.monotonic(), ""
            self._in_dump = self._in_traceback = False
            self._show(f"{label(match[1])}: started")
        elif match := ENDED.search(message):
            self._end(label(match[1]), failed=match[2] == "FAILURE")
        elif match := REUSED.search(message):
            self.steps.append(Step(label(match[1]), "reused", 0.0))
            self._show(f"{label(match[1])}: reused from an earlier run")
        return False

    def _end(self, name: str, *, failed: bool) -> None:
        seconds = time.monotonic() - self._started
        self.steps.append(Step(name, "failed" if failed else "done", round(seconds, 3)))
        self._show(f"{name}: failed after {seconds:.1f} s" if failed else f"{name}: done in {seconds:.1f} s")
        if failed:
            self.failure = explain(name, self._error, self._log.name)

    def _take(self, line: str) -> None:
        if match := EXECUTOR.match(line):
            line = match[1]
            self._in_dump = line.startswith("Got executor_input")
            if self._in_dump or line.startswith(KFP_LINES):
                return
        if self._in_dump:
            self._in_dump = line != "}"
        elif line.startswith("Traceback (most recent call last)"):
            self._in_traceback = True
        elif self._in_traceback:
            if line and not line.startswith(" "):
                self._error, self._in_traceback = line, False
        elif line and not line.startswith(CHAIN_LINES) and line.strip("-"):
            self._show(f"  {line}")


def label(task: str) -> str:
    """The short name of a task: ``train-detector`` is ``train``."""
    return SHORT_NAMES.get(task, task.split("-")[0])


def explain(step: str, error: str, log: str) -> Failure:
    """The failure that the last line of a traceback tells of.

    An error that Hakka raised on purpose speaks for itself; any other is named together with its step and the log.
    """
    if match := OWN_ERROR.match(error):
        kind = getattr(errors, match[1], errors.HakkaError)
        return Failure(match[2], kind.exit_code)
    reason = error or "it ended without a word, as if killed from outside"
    return Failure(f"step {step} failed: {reason}; the whole output is in {log}", 2)
