"""Channels: ``channels/<name>/<number>.json`` in the registry, each step of a channel's history a file of its own.

The highest number is what the channel points at. A step is a file that is created and never changed, which a local
folder and an object store both do atomically: of two writers who want the same number one gets it, and the other looks
again. So nothing is locked, no step is lost, and a writer that is killed has either made its step or not.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hakka.errors import InvalidInput, NotFound
from hakka.registry.store import Registry, Store, open_store
from hakka.registry.versions import VERSION, version_folder

CHANNELS = ("champion", "canary")
_STEP_FILE = re.compile(r"[0-9]{8}\.json")

Step = dict[str, Any]


def champion(registry: Registry) -> str | None:
    """The champion's version, or None while there is none."""
    steps = channel_history(registry, "champion")
    return str(steps[-1]["version"]) if steps else None


def channel_history(registry: Registry, channel: str) -> list[Step]:
    """What the channel pointed at, oldest first: ``version``, ``action`` (promote, rollback) and ``time``.

    Raises:
        InvalidInput: there is no such channel, or its newest file is not a step.
        Unavailable: the registry cannot be reached.
    """
    return _history(open_store(registry), registry, _checked(channel))[1]


def find_version(name: str, registry: Registry) -> str:
    """The version that a channel points at, or that is itself named.

    Raises:
        InvalidInput: ``name`` is neither a channel nor a version.
        NotFound: the channel is empty.
        Unavailable: the registry cannot be reached.
    """
    if VERSION.fullmatch(name):
        return name
    steps = channel_history(registry, name)
    if not steps:
        raise NotFound(f"channel {name!r} of the registry {registry} is empty: promote a version first (hakka run)")
    return str(steps[-1]["version"])


def resolve(name: str, registry: Registry) -> Path:
    """The folder of a channel's version, or of a version itself.

    Raises:
        InvalidInput: ``name`` is neither a channel nor a version.
        NotFound: the channel is empty, or the version is not registered.
        Unavailable: the registry cannot be reached.
    """
    return version_folder(registry, find_version(name, registry))


def promote(registry: Registry, version: str, channel: str = "champion") -> None:
    """Point a channel at a registered version; nothing changes where it points there already.

    Raises:
        InvalidInput: there is no such channel, or ``version`` is malformed.
        NotFound: the version is not registered.
        Unavailable: the registry cannot be reached.
    """
    version_folder(registry, version)
    _step(registry, channel, "promote", lambda steps: None if _points_at(steps, version) else version)


def rollback(registry: Registry, channel: str = "champion") -> str:
    """Point a channel at what it pointed at before its last promotion, and return that version.

    Rolled back again, it goes one promotion further.

    Raises:
        InvalidInput: there is no such channel.
        NotFound: there is nothing before.
        Unavailable: the registry cannot be reached.
    """

    def earlier(steps: list[Step]) -> str:
        stack: list[str] = []
        for step in steps:
            if step["action"] == "promote":
                stack.append(step["version"])
            elif stack:
                stack.pop()
        if len(stack) < 2:
            raise NotFound(f"channel {channel!r} of the registry {registry} has no earlier version to go back to")
        return stack[-2]

    return str(_step(registry, channel, "rollback", earlier))


def _step(registry: Registry, channel: str, action: str, choose: Callable[[list[Step]], str | None]) -> str | None:
    """Append the step that ``choose`` makes of the history, or none; anew whenever another writer was quicker."""
    store = open_store(registry)
    while True:
        number, steps = _history(store, registry, _checked(channel))
        version = choose(steps)
        if version is None:
            return None
        step = {"version": version, "action": action, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        content = json.dumps({"version": version, "history": [*steps, step]}, indent=2) + "\n"
        if store.create(f"channels/{channel}/{number + 1:08d}.json", content.encode()):
            return version


def _history(store: Store, registry: Registry, channel: str) -> tuple[int, list[Step]]:
    """The number of the newest step, 0 for none, and all steps; each file repeats those before it."""
    names = [name for name in store.names(f"channels/{channel}") if _STEP_FILE.fullmatch(name)]
    if not names:
        return 0, []
    place = f"{registry}/channels/{channel}/{names[-1]}"
    try:
        content = json.loads(store.read(f"channels/{channel}/{names[-1]}") or b"")
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{place}: not valid JSON: {error}") from None
    steps = content.get("history") if isinstance(content, dict) else None
    if not isinstance(steps, list) or not steps or not all(_is_step(step) for step in steps):
        raise InvalidInput(f"{place}: not a channel file: its history must be a list of versions and actions")
    return int(names[-1].partition(".")[0]), steps


def _is_step(step: Any) -> bool:
    return (
        isinstance(step, dict)
        and isinstance(step.get("version"), str)
        and VERSION.fullmatch(step["version"]) is not None
        and step.get("action") in ("promote", "rollback")
    )


def _points_at(steps: list[Step], version: str) -> bool:
    return bool(steps) and steps[-1]["version"] == version


def _checked(channel: str) -> str:
    if channel not in CHANNELS:
        raise InvalidInput(f"channel must be one of {', '.join(CHANNELS)}, got {channel!r}")
    return channel
