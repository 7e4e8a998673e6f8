"""kfp.local's chatter as plain lines: a step starts, speaks, and ends after so many seconds.

kfp reports what it does through the root logger and prints what a step writes among rules, blank lines and a dump of
the step's input. :class:`Progress` stands in both places: all goes to the log, what matters to the person.
Steps that run at once are each in a thread of their own, and so is what they say.
"""

import io
import json
import logging
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TextIO

from hakka import errors

SHORT_NAMES = {"evaluate-champion": "evaluate champion"}
# Tasks of a loop, and the key by which the dump of their input says which turn it is.
REPEATED = {"scan-images": "shard", "train-detector": "label", "export-detector": "title", "evaluate-detector": "title"}
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
TURNS = {key: re.compile(rf'"{key}": ("(?:[^"\\]|\\.)*")') for key in REPEATED.values()}
ONLY_TURNS = {"1/1", ""}  # of a loop with one turn, and of the run's own settings
OWN_ERROR = re.compile(r"hakka\.errors\.(\w+): (.*)")


@dataclass(frozen=True)
class Step:
    """One step of a run; ``state`` is done, reused, failed or interrupted."""

    name: str
    state: str
    seconds: float


@dataclass(frozen=True)
class Failure:
    """Why a run ended early, in one sentence, and what the command line returns for it."""

    sentence: str
    exit_code: int


class _Voice(threading.local):
    """What is known of the step that runs in this thread: its name, and where in its output it is."""

    name = ""
    turn = ""
    started = 0.0
    pending = ""
    error = ""
    awaited_turn = ""  # the key by which the turn will be said
    in_dump = in_traceback = False


class Progress(io.TextIOBase):
    """A text stream to print into, and a filter for the root logger."""

    def __init__(self, log: TextIO, show: Callable[[str], None]) -> None:
        self.steps: list[Step] = []
        self.failure: Failure | None = None
        self._log = log
        self._show = show
        self._voice = _Voice()
        self._lock = threading.RLock()
        self._interrupted = False

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT as Python does; the steps that end of it have not failed."""
        self._interrupted = True
        signal.default_int_handler(number, frame)

    def writable(self) -> bool:
        """Text may be written."""
        return True

    def write(self, text: str) -> int:
        """Take a piece of what kfp prints; it is shown by whole lines."""
        *lines, self._voice.pending = (self._voice.pending + text).split("\n")
        with self._lock:
            for line in lines:
                self._log.write(line + "\n")
                self._take(line.rstrip())
            self._log.flush()
        return len(text)

    def filter(self, record: logging.LogRecord) -> bool:
        """Take a message of kfp's own; none goes further."""
        message = COLOUR.sub("", record.getMessage())
        with self._lock:
            self._log.write(f"kfp: {message}\n")
            if match := STARTED.search(message):
                self._start(match[1])
            elif match := ENDED.search(message):
                self._end(failed=match[2] == "FAILURE")
            elif match := REUSED.search(message):
                self._reuse(label(match[1]))
        return False

    def _start(self, task: str) -> None:
        voice = self._voice
        voice.name, voice.started, voice.error, voice.turn = label(task), time.monotonic(), "", ""
        voice.in_dump = voice.in_traceback = False
        voice.awaited_turn = REPEATED.get(task, "")
        if not voice.awaited_turn:
            self._show(f"{voice.name}: started")

    def _end(self, *, failed: bool) -> None:
        name, seconds = self._voice.name, time.monotonic() - self._voice.started
        if self._voice.awaited_turn:  # it ended before it said which turn it is
            self._show(f"{name}: started")
        state = "done" if not failed else "interrupted" if self._interrupted else "failed"
        self.steps.append(Step(name, state, round(seconds, 3)))
        self._show(f"{name}: {state} {'after' if failed else 'in'} {seconds:.1f} s")
        if state == "failed":
            self.failure = self.failure or explain(name, self._voice.error, self._log.name)

    def _reuse(self, name: str) -> None:
        """Say once that a step is reused, however many turns of it are: variants may share a training of this run."""
        step = Step(name, "reused", 0.0)
        if step not in self.steps:
            is_own = any(other.name.split(" ")[0] == name for other in self.steps)
            self._show(f"{name}: reused" if is_own else f"{name}: reused from an earlier run")
        self.steps.append(step)

    def _take(self, line: str) -> None:
        voice = self._voice
        if match := EXECUTOR.match(line):
            line = match[1]
            voice.in_dump = line.startswith("Got executor_input")
            if voice.in_dump or line.startswith(KFP_LINES):
                return
        if voice.in_dump:
            self._take_dump(line)
        elif line.startswith("Traceback (most recent call last)"):
            voice.in_traceback = True
        elif voice.in_traceback:
            if line and not line.startswith(" "):
                voice.error, voice.in_traceback = line, False
        elif line and not line.startswith(CHAIN_LINES) and line.strip("-"):
            self._show(f"  {voice.name}: {line}" if voice.turn else f"  {line}")

    def _take_dump(self, line: str) -> None:
        voice = self._voice
        voice.in_dump = line != "}"
        if match := TURNS[voice.awaited_turn].search(line) if voice.awaited_turn else None:
            turn = json.loads(match[1])
            voice.turn = "" if turn in ONLY_TURNS else turn
            voice.name += f" {voice.turn}" if voice.turn else ""
        if voice.awaited_turn and (match or not voice.in_dump):
            voice.awaited_turn = ""
            self._show(f"{voice.name}: started")


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
