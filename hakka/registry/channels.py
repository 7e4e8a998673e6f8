"""Channels: ``<registry>/channels/<name>.json`` names the version in use and every one before it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from hakka.errors import InvalidInput, NotFound
from hakka.files import read_json, write_json
from hakka.registry.versions import VERSION, version_folder

CHANNELS = ("champion", "canary")


def champion(registry: Path) -> str | None:
    """The champion's version, or None while there is none."""
    steps = channel_history(registry, "champion")
    return str(steps[-1]["version"]) if steps else None


def channel_history(registry: Path, channel: str) -> list[dict[str, Any]]:
    """What the channel pointed at, oldest first: ``version``, ``action`` (promote, rollback) and ``time``.

    Raises:
        InvalidInput: there is no such channel, or its file is not one.
    """
    path = _channel_file(registry, channel)
    if not path.is_file():
        return []
    content = read_json(path)
    steps = content.get("history") if isinstance(content, dict) else None
    if not isinstance(steps, list) or not steps or not all(_is_step(step) for step in steps):
        raise InvalidInput(f"{path}: not a channel file: its history must be a list of versions and actions")
    return steps


def _is_step(step: Any) -> bool:
    return (
        isinstance(step, dict)
        and isinstance(step.get("version"), str)
        and VERSION.fullmatch(step["version"]) is not None
        and step.get("action") in ("promote", "rollback")
    )


def resolve(name: str, registry: Path) -> Path:
    """The folder of a channel's version, or of a version itself.

    Raises:
        InvalidInput: ``name`` is neither a channel nor a version.
        NotFound: the channel is empty, or the version is not registered.
    """
    if VERSION.fullmatch(name):
        return version_folder(registry, name)
    steps = channel_history(registry, name)
    if not steps:
        raise NotFound(f"channel {name!r} of the registry {registry} is empty: promote a version first (hakka run)")
    return version_folder(registry, steps[-1]["version"])


def promote(registry: Path, version: str, channel: str = "champion") -> None:
    """Point a channel at a registered version; nothing changes where it points there already.

    Raises:
        InvalidInput: there is no such channel, or ``version`` is malformed.
        NotFound: the version is not registered.
    """
    version_folder(registry, version)
    with _lock(registry, channel):
        steps = channel_history(registry, channel)
        if not steps or steps[-1]["version"] != version:
            _append(registry, channel, steps, version, "promote")


def rollback(registry: Path, channel: str = "champion") -> str:
    """Point a channel at what it pointed at before its last promotion, and return that version.

    Rolled back again, it goes one promotion further.

    Raises:
        InvalidInput: there is no such channel.
        NotFound: there is nothing before.
    """
    with _lock(registry, channel):
        steps = channel_history(registry, channel)
        stack: list[str] = []
        for step in steps:
            if step["action"] == "promote":
                stack.append(step["version"])
            elif stack:
                stack.pop()
        if len(stack) < 2:
            raise NotFound(f"channel {channel!r} of the registry {registry} has no earlier version to go back to")
        _append(registry, channel, steps, stack[-2], "rollback")
        return stack[-2]


def _channel_file(registry: Path, channel: str) -> Path:
    if channel not in CHANNELS:
        raise InvalidInput(f"channel must be one of {', '.join(CHANNELS)}, got {channel!r}")
    return registry / "channels" / f"{channel}.json"


def _lock(registry: Path, channel: str) -> FileLock:
    path = _channel_file(registry, channel)
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_suffix(".lock"))


def _append(registry: Path, channel: str, steps: list[dict[str, Any]], version: str, action: str) -> None:
    step = {"version": version, "action": action, "time": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(_channel_file(registry, channel), {"version": version, "history": [*steps, step]})
