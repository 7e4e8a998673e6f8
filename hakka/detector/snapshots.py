"""The state of a training that is under way, on the disk after every epoch, so that a killed one can go on."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

KEPT_DAYS = 30


class Snapshots:
    """One training's state in ``<root>/<key>/``; ``key`` names everything that decides the result.

    A snapshot replaces the one before it by rename, so a kill leaves the old one or the new one. A second process that
    trains the same at the same time gets a folder of its own and starts from the beginning.
    """

    def __init__(self, root: Path, key: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        _drop_old(root)
        self.folder = root / key
        self.folder.mkdir(exist_ok=True)
        self._lock = FileLock(self.folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self.folder = root / f"{key}-{os.getpid()}"
            self.folder.mkdir(exist_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        """Only the folder goes into the processes of a training on several GPUs; the lock stays with their parent."""
        return {"folder": self.folder}

    def save(self, state: dict[str, Any]) -> None:
        """Replace the snapshot; ``state`` holds tensors, numbers, text, lists and mappings."""
        import torch

        scratch = self.folder / "state.new"
        torch.save(state, scratch)
        os.replace(scratch, self.folder / "state.pt")

    def load(self) -> dict[str, Any] | None:
        """The snapshot, or None if there is none."""
        import torch

        path = self.folder / "state.pt"
        if not path.is_file():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state

    def close(self, *, finished: bool) -> None:
        """Let go of the folder, and remove it if the training needs it no more."""
        if finished:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()


def _drop_old(root: Path) -> None:
    """Remove what trainings left behind that nobody went on with."""
    limit = time.time() - KEPT_DAYS * 86_400
    for folder in root.iterdir():
        if folder.is_dir() and folder.stat().st_mtime < limit:
            shutil.rmtree(folder, ignore_errors=True)
