"""Which processes are at work."""

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
