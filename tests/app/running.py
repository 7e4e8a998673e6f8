"""Starts a real ``python -m app`` and ends it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class RunningApp:
    """An app process, the first line that it printed and its address."""

    process: subprocess.Popen
    first_line: str
    url: str

    def stop(self, sig: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; the exit code and everything else that was printed."""
        self.process.send_signal(sig)
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, rest


@contextmanager
def running_app(cwd: Path = ROOT, **environ: str) -> Iterator[RunningApp]:
    """An app that answers on a free port, started in ``cwd``; it is gone when the block ends."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HAKKA_APP_PORT": str(port), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()  # the app prints nothing until it answers
        yield RunningApp(process, line.rstrip("\n"), f"http://127.0.0.1:{port}")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
