"""The environment, read once into one frozen record."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hakka.errors import InvalidInput
from hakka.files import real_path


@dataclass(frozen=True)
class Settings:
    """Where a process writes and which addresses it uses.

    ``home`` holds everything that a run writes. The properties below are the only places where its layout is named.
    """

    home: Path
    port: int
    app_port: int
    endpoint: str
    weights: Path | None
    registry: str | Path  # of model versions and channels: a folder, or a URL such as s3://bucket/registry

    @property
    def runs(self) -> Path:
        """Run records, one folder a run."""
        return self.home / "runs"

    @property
    def versions(self) -> Path:
        """Versions of data that were checked out, one folder a version."""
        return self.home / "versions"

    @property
    def accepted(self) -> Path:
        """The splits of the data versions that passed their checks, see ``hakka.data.earlier``."""
        return self.home / "accepted"

    @property
    def predictions(self) -> Path:
        """The prediction log."""
        return self.home / "predictions"

    @property
    def monitor(self) -> Path:
        """Drift reports, one folder a run of the watch."""
        return self.home / "monitor"

    @property
    def cache(self) -> Path:
        """Outputs of pipeline steps that a later run may reuse."""
        return self.home / "cache"

    @property
    def dvc_remote(self) -> Path:
        """The remote of a DVC repository that has no other."""
        return self.home / "dvc-remote"

    @property
    def clearml(self) -> Path:
        """Offline ClearML sessions."""
        return self.home / "clearml"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from ``HAKKA_HOME``, ``HAKKA_REGISTRY``, ``HAKKA_PORT``, ``HAKKA_APP_PORT``, ``HAKKA_ENDPOINT`` and
    ``HAKKA_WEIGHTS``.

    Raises:
        InvalidInput: a port is not a whole number from 1 to 65535, or a path begins with an unknown user's ``~`` or
            leads in a circle.
    """
    port = _port(environ, "HAKKA_PORT", 8080)
    weights = environ.get("HAKKA_WEIGHTS")
    home = _path("HAKKA_HOME", environ.get("HAKKA_HOME") or ".hakka")
    registry = environ.get("HAKKA_REGISTRY") or str(home / "registry")
    return Settings(
        home=home,
        port=port,
        app_port=_port(environ, "HAKKA_APP_PORT", 8501),
        endpoint=(environ.get("HAKKA_ENDPOINT") or f"http://127.0.0.1:{port}").rstrip("/"),
        weights=_path("HAKKA_WEIGHTS", weights) if weights else None,
        registry=registry if "://" in registry else _path("HAKKA_REGISTRY", registry),
    )


def _path(name: str, text: str) -> Path:
    """The absolute path without ``..``, so that a folder has one name; where there is none, links stay as they are."""
    try:
        path = Path(text).expanduser().absolute()
    except RuntimeError:
        raise InvalidInput(f"{name}: a folder must not begin with an unknown user's ~, got {text!r}") from None
    return real_path(path) if ".." in path.parts else path


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise InvalidInput(f"{name}: a port must be a whole number from 1 to 65535, got {text!r}")
    return int(text)
