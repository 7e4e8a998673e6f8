"""How many CPU cores this process may use: its affinity and its cgroup's limit, not the host's count.

The limit is the CFS quota: ``cpu.max`` in cgroup v2 (kernel: Documentation/admin-guide/cgroup-v2.rst), and
``cpu.cfs_quota_us`` over ``cpu.cfs_period_us`` in v1. A limit on any parent group holds too.
"""

import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """Whole cores to plan threads for, at least 1: the lesser of affinity and limit, a half rounded up.

    1.5 cores make 2 threads, because half a core would stay idle otherwise; 2.3 make 2, because a third thread would
    have all of them stopped for most of each period. ``root`` is where ``/proc`` and ``/sys`` are.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit(root)
    return affinity if limit is None else max(1, min(affinity, int(limit + 0.5)))


def cpu_limit(root: Path = Path("/")) -> float | None:
    """The cgroup's limit in cores, the least on the way to the top; None without one or where none can be read."""
    return min(_limits(root), default=None)


def _limits(root: Path) -> Iterator[float]:
    mounts = root / "sys/fs/cgroup"
    for controllers, place in _groups(root / "proc/self/cgroup"):
        if not controllers:
            yield from (limit for folder in _upwards(mounts, place) if (limit := _v2_limit(folder)) is not None)
        elif "cpu" in controllers:
            for name in ("cpu", "cpu,cpuacct"):
                folders = _upwards(mounts / name, place)
                yield from (limit for folder in folders if (limit := _v1_limit(folder)) is not None)


def _groups(path: Path) -> Iterator[tuple[list[str], str]]:
    """The lines ``number:controllers:place`` of this process; v2 has no controllers."""
    for line in _read(path).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        yield controllers.split(",") if controllers else [], place


def _upwards(mount: Path, place: str) -> Iterator[Path]:
    # In a container the place may be the host's path, of which only the top is mounted: what is missing reads as none.
    folder = mount / place.strip("/")
    yield folder
    while folder != mount and folder != folder.parent:
        folder = folder.parent
        yield folder


def _v2_limit(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    return _cores(quota, period)


def _v1_limit(folder: Path) -> float | None:
    return _cores(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())


def _cores(quota: str, period: str) -> float | None:
    """No limit reads ``max`` in v2 and ``-1`` in v1."""
    if not (quota.isdigit() and period.isdigit() and int(quota) and int(period)):
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
