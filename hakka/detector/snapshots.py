"""The state of a training that is under way, on the disk after every epoch, so that a killed one can go on."""

import os
import shutil
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

KEPT_DAYS = 30


class Snapshots:
    """One training's state in a folder. A snapshot replaces the one before it by rename: a kill leaves one of them."""

    def __init__(self, folder: Path, lock: FileLock | None = None) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def claim(cls, root: Path, key: str) -> "Snapshots":
        """Those in ``<root>/<key>/``, for this process alone; ``key`` names everything that decides the result.

        A second process that trains the same at the same time gets a folder of its own and starts from the beginning.
        """
        root.mkdir(parents=True, exist_ok=True)
        _drop_old(root)
        folder = root / key
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            folder = root / f"{key}-{os.getpid()}"
            folder.mkdir(exist_ok=True)
        return cls(folder, lock)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the snapshot; ``state`` holds tensors, numbers, text, lists and mappings."""
        import torch

        scratch = self.folder / "state.new"
        with scratch.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # a power cut leaves one of the two, too
        os.replace(scratch, self.folder / "state.pt")

    def load(self) -> dict[str, Any] | None:
        """The snapshot, or None if there is none, or a damaged one: that is told, and removed."""
        import torch

        path = self.folder / "state.pt"
        if not path.is_file():
            return None
        content = BytesIO(path.read_bytes())  # what goes wrong from here on is the content's fault, not the disk's
        try:
            state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
        except Exception:  # errors of many types, by where the damage is
            print(f"{path}: the snapshot of an earlier training is damaged: training begins anew", file=sys.stderr)
            path.unlink()
            return None
        return state

    def close(self, *, finished: bool) -> None:
        """Let go of the folder, and remove it if the training needs it no more."""
        if finished:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()


def _drop_old(root: Path) -> None:
    """Remove what trainings left behind that nobody went on with."""
    limit = time.time() - KEPT_DAYS * 86_400
    for folder in root.iterdir():
        if folder.is_dir() and folder.stat().st_mtime < limit:
            shutil.rmtree(folder, ignore_errors=True)
