"""Starts a real ``python -m serving`` and ends it: for any test that needs an endpoint."""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class RunningServer:
    """A server process and its address; ``lines`` is everything that it printed so far."""

    process: subprocess.Popen
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def stop(self, sig: int = 15, timeout: float = 30) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(timeout)


@contextmanager
def running_server(
    *arguments: str | Path,
    deadline: float = 120,
    env: dict[str, str] | None = None,
    python: str | Path = sys.executable,
) -> Iterator[RunningServer]:
    """A ready server on a free port, started with these arguments; it is gone when the block ends."""
    process = subprocess.Popen(
        [python, "-m", "serving", "--port", "0", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = RunningServer(process)
    try:
        _wait_until_ready(server, time.monotonic() + deadline)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(server: RunningServer, deadline: float) -> None:
    announced: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in server.process.stdout:
            server.lines.append(line.rstrip())
            announced.put(line)
        announced.put(None)

    threading.Thread(target=read, daemon=True).start()
    while not server.url:
        line = announced.get(timeout=max(deadline - time.monotonic(), 0.01))
        if line is None:
            raise RuntimeError("the server ended before it was ready:\n" + "\n".join(server.lines))
        if line.startswith("Serving hakka"):
            server.url = line.split(" at ")[1].strip()
    while httpx.get(f"{server.url}/v2/health/ready").status_code != 200:
        if time.monotonic() > deadline:
            raise RuntimeError("the server did not become ready:\n" + "\n".join(server.lines))
        time.sleep(0.05)
