"""Which model version is served, and the switch to the next one while requests go on."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hakka.detector.runtime import Detector, load_detector
from hakka.errors import HakkaError, Tampered
from hakka.registry.versions import VERSION

logger = logging.getLogger("hakka.serving")


@dataclass(frozen=True)
class Loaded:
    """A model version that is in memory and has answered once."""

    path: Path
    detector: Detector

    @property
    def version(self) -> str:
        """The version's id."""
        return self.detector.info.version


def load_version(path: Path) -> Loaded:
    """Load a model folder and let it answer once, so that the first caller does not pay for the warm-up.

    Raises as ``load_detector`` does, and Tampered if a registered version's folder holds another one.
    """
    detector = load_detector(path)
    if VERSION.fullmatch(path.name) and path.name != detector.info.version:
        raise Tampered(f"{path}: a version's folder must hold that version, it holds {detector.info.version}")
    detector.warm_up()
    return Loaded(path, detector)


class Versions:
    """Holds the current version; ``resolve`` says which folder should be served now.

    A switch loads the new version beside the old one and then changes one reference: a request that holds the old one
    finishes on it.
    """

    def __init__(self, resolve: Callable[[], Path]) -> None:
        """Load what ``resolve`` names; raises what it or the loading raises."""
        self._resolve = resolve
        self._refused: Path | None = None
        self._warned = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.current = load_version(resolve())

    def refresh(self) -> bool:
        """Switch if ``resolve`` names another folder than the current one; True if it did.

        A version that cannot be loaded is refused with one warning, and the current one goes on answering.
        """
        path = None
        try:
            path = self._resolve()
            if path in (self.current.path, self._refused):
                return False
            self.current = load_version(path)
        except Exception as error:  # whatever is wrong with the next version must not stop this one
            self._refused = path
            self._warn(str(error) if isinstance(error, HakkaError | OSError) else f"{type(error).__name__}: {error}")
            return False
        self._refused = None
        logger.info("Serving hakka %s now", self.current.version)
        return True

    def _warn(self, reason: str) -> None:
        if reason != self._warned:
            self._warned = reason
            logger.warning("hakka %s goes on, the next version cannot be served: %s", self.current.version, reason)

    def watch(self, seconds: float) -> None:
        """Call ``refresh`` every ``seconds`` from a thread until ``close``."""
        self._thread = threading.Thread(target=self._poll, args=(seconds,), name="channel-watch", daemon=True)
        self._thread.start()

    def _poll(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            self.refresh()

    def close(self) -> None:
        """End the watch; a switch that is under way is waited for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
