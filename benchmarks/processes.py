"""Processes that a benchmark starts, asks, measures and ends.

Needs nothing that is to be installed: peers use it with a Python of their own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

Ask = Callable[[Any], Any]


@contextmanager
def helper(command: Sequence[str | Path]) -> Iterator[Ask]:
    """A process that answers a line of JSON by a line of JSON, see ``answer_lines``."""
    process = _start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(question: Any) -> Any:
        print(json.dumps(question), file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{command[1]} ended before it answered, with code {process.wait()}")
        return json.loads(line)

    try:
        yield ask
    finally:
        _end(process)


def answer_lines(answer: Ask) -> None:
    """The other side of ``helper``. What libraries print goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=out, flush=True)


def timed(
    work: Callable[[int], None], seconds: float, finish: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Photos a second and CPU ms a photo of ``work``, called with 0, 1, 2 … for some seconds, and then ``finish``."""
    start, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        work(count)
        count += 1
    finish()
    return count / (time.perf_counter() - start), (time.process_time() - cpu) * 1000 / count


@contextmanager
def server(command: Sequence[str | Path], port: int, **env: str) -> Iterator[int]:
    """A server that listens on a port of this machine: its process id once it does. It is gone when the block ends.

    Raises:
        SystemExit: it ended, or did not listen in time; what it printed is shown.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = _start(command, stdout=log, stderr=log, env=os.environ | env)
        try:
            if not _listens(port, process, time.monotonic() + 120):
                log.seek(0)
                raise SystemExit(f"{process.args} does not listen on port {port}:\n{log.read()[-3000:]}")
            yield process.pid
        finally:
            _end(process)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, with all that it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def cpu_seconds(process: int) -> float:
    """User and system time so far of a process and of those that it started, they too, and still run."""
    ticks = sum(int(fields[11]) + int(fields[12]) for fields in _family(process).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def _start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen:
    return subprocess.Popen([*map(str, command)], cwd=ROOT, text=True, **options)


def _listens(port: int, process: subprocess.Popen, deadline: float) -> bool:
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.1)
    return False


def _end(process: subprocess.Popen) -> None:
    """End a process, and those that it started and leaves behind."""
    started = {pid: fields[_BEGAN] for pid, fields in _family(process.pid).items()}
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for pid, fields in _processes().items():
        if started.get(pid) == fields[_BEGAN]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


_PARENT, _BEGAN = 1, 19  # of what /proc says of a process, from its state on: proc_pid_stat(5)


def _processes() -> dict[int, list[str]]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    return found


def _family(process: int) -> dict[int, list[str]]:
    """The process and all below it."""
    everyone, family = _processes(), {process}
    while more := {pid for pid, fields in everyone.items() if int(fields[_PARENT]) in family} - family:
        family |= more
    return {pid: everyone[pid] for pid in family if pid in everyone}
