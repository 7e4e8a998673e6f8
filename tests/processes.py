"""Which processes are at work."""

import time
from pathlib import Path


def processes_with(name: str, value: str) -> list[bytes]:
    """Command lines of the processes that began with this variable in their environment."""
    mark, found = f"{name}={value}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    return found


def wait_until_gone(name: str, value: str) -> None:
    """Wait for the end of the processes that began with this variable in their environment; one that stays fails."""
    deadline = time.monotonic() + 60
    while (left := processes_with(name, value)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
