"""Which model version is served, and the switch to the next one while requests go on."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from hakka.detector.inference import Plan
from hakka.detector.runtime import Detector, load_detector
from hakka.errors import HakkaError
from serving.priority import LOADING, WORKING, step_back

logger = logging.getLogger("hakka.serving")

# A version that was refused is tried again after this time, or as soon as its folder changes.
RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Loaded:
    """A model version that is in memory and has answered once."""

    path: Path
    detector: Detector

    @property
    def version(self) -> str:
        """The version's id."""
        return self.detector.info.version


@dataclass(frozen=True)
class _Refused:
    """A folder that could not be served, as it was then."""

    path: Path | None
    state: tuple[object, ...]
    until: float


def load_version(path: Path, plan: Plan) -> Loaded:
    """Load a model folder and let it answer once, so that the first caller does not pay for the warm-up.

    Raises as ``load_detector`` does.
    """
    detector = load_detector(path, plan)
    detector.warm_up()
    return Loaded(path, detector)


class Versions:
    """Holds the current version; ``resolve`` says which folder should be served now.

    A switch loads the new version beside the old one and then changes one reference: a request that holds the old one
    finishes on it.
    """

    def __init__(self, resolve: Callable[[], Path], plan: Plan) -> None:
        """Load what ``resolve`` names; raises what it or the loading raises."""
        self._resolve = resolve
        self._refused: _Refused | None = None
        self._warned = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        with ThreadPoolExecutor(1, initializer=step_back, initargs=(WORKING,)) as loader:
            self.current = loader.submit(load_version, resolve(), plan).result()
        # Measured once: while requests run, a measurement would disturb them and be disturbed.
        self._plan = replace(plan, batch=self.current.detector.inference.batch)

    def refresh(self) -> bool:
        """Switch if ``resolve`` names another folder than the current one; True if it did.

        A version that cannot be loaded is refused with one warning, and the current one goes on answering.
        """
        path = None
        try:
            path = self._resolve()
            if path == self.current.path or self._is_refused(path):
                return False
            self.current = load_version(path, self._plan)
        except Exception as error:  # whatever is wrong with the next version must not stop this one
            self._refused = _Refused(path, _state(path), time.monotonic() + RETRY_SECONDS)
            self._warn(str(error) if isinstance(error, HakkaError | OSError) else f"{type(error).__name__}: {error}")
            return False
        self._refused = None
        logger.info("Serving hakka %s now", self.current.version)
        return True

    def _is_refused(self, path: Path) -> bool:
        refused = self._refused
        if refused is None or refused.path != path or time.monotonic() >= refused.until:
            return False
        return refused.state == _state(path)

    def _warn(self, reason: str) -> None:
        if reason != self._warned:
            self._warned = reason
            logger.warning("hakka %s goes on, the next version cannot be served: %s", self.current.version, reason)

    def watch(self, seconds: float) -> None:
        """Call ``refresh`` every ``seconds`` from a thread until ``close``."""
        self._thread = threading.Thread(target=self._poll, args=(seconds,), name="channel-watch", daemon=True)
        self._thread.start()

    def _poll(self, seconds: float) -> None:
        step_back(LOADING)
        while not self._stop.wait(seconds):
            self.refresh()

    def close(self) -> None:
        """End the watch; a switch that is under way is waited for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


def _state(folder: Path | None) -> tuple[object, ...]:
    """What changes when a folder's files do."""
    if folder is None:
        return ()
    try:
        files = sorted(folder.iterdir())
        return tuple((file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()])
    except OSError:
        return ()
