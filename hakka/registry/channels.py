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

from hakka.detector.modelfile import VERSION
from hakka.errors import InvalidInput, NotFound, Tampered
from hakka.registry.store import Registry, Store, open_store
from hakka.registry.versions import check_version, version_folder

CHANNELS = ("champion", "canary")
_STEP_FILE = re.compile(r"[0-9]{8}\.json")

Step = dict[str, Any]
Choice = tuple[str, str | None]  # an action and the version that the channel points at after it


def champion(registry: Registry) -> str | None:
    """The champion's version, or None while there is none."""
    return _current(channel_history(registry, "champion"))


def check_champion(registry: Registry) -> None:
    """Do nothing if there is no champion, or it is what was registered. Raises as ``check_version``, with a way out."""
    version = champion(registry)
    try:
        if version is not None:
            check_version(registry, version)
    except (InvalidInput, NotFound, Tampered) as error:
        way_out = "point the champion at another version (hakka promote), or begin a new registry (HAKKA_REGISTRY)"
        raise type(error)(f"the champion cannot be used: {error}; {way_out}") from None


def channel_history(registry: Registry, channel: str) -> list[Step]:
    """What the channel pointed at, oldest first: ``version``, ``action`` and ``time`` (ISO 8601, UTC).

    The actions are promote, rollback (of the champion), and end (of a canary), after which the version is None.

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
    version = _current(channel_history(registry, name))
    if version is None:
        how = "hakka run" if name == "champion" else f"hakka promote VERSION --channel {name}"
        raise NotFound(f"channel {name!r} of the registry {registry} is empty: promote a version first ({how})")
    return version


def resolve(name: str, registry: Registry) -> Path:
    """The folder of a channel's version, or of a version itself.

    Raises:
        InvalidInput: ``name`` is neither a channel nor a version.
        NotFound: the channel is empty, or the version is not registered.
        Unavailable: the registry cannot be reached.
    """
    return version_folder(registry, find_version(name, registry))


def promote(registry: Registry, version: str, channel: str = "champion") -> bool:
    """Point a channel at a registered version; nothing changes where it points there already.

    A canary that becomes the champion is no canary any more: True if so the canary ended.

    Raises:
        InvalidInput: there is no such channel, or ``version`` is malformed.
        NotFound: the version is not registered.
        Tampered: it is not what was registered.
        Unavailable: the registry cannot be reached.
    """
    check_version(registry, version)
    _step(registry, channel, lambda steps: None if _current(steps) == version else ("promote", version))
    if channel != "champion":
        return False
    ended = _step(registry, "canary", lambda steps: ("end", None) if _current(steps) == version else None)
    return ended is not None


def rollback(registry: Registry, channel: str = "champion") -> str | None:
    """Point the champion at what it pointed at before its last promotion, and give that version.

    Rolled back again, it goes one promotion further. A canary is a trial, which ends, as on a cluster: None.

    Raises:
        InvalidInput: there is no such channel.
        NotFound: there is nothing before, or no canary.
        Tampered: the version before is not what was registered.
        Unavailable: the registry cannot be reached.
    """
    choose = _go_back if channel == "champion" else _end
    step = _step(registry, channel, lambda steps: choose(steps, registry))
    return step["version"] if step else None


def _go_back(steps: list[Step], registry: Registry) -> Choice:
    stack: list[str] = []
    for step in steps:
        if step["action"] == "promote":
            stack.append(step["version"])
        elif stack:
            stack.pop()
    if len(stack) < 2:
        raise NotFound(f"channel 'champion' of the registry {registry} has no earlier version to go back to")
    check_version(registry, stack[-2])
    return "rollback", stack[-2]


def _end(steps: list[Step], registry: Registry) -> Choice:
    if _current(steps) is None:
        raise NotFound(f"channel 'canary' of the registry {registry} is empty already")
    return "end", None


def _step(registry: Registry, channel: str, choose: Callable[[list[Step]], Choice | None]) -> Step | None:
    """Append the step that ``choose`` makes of the history and give it, or none; anew if another writer was quicker."""
    store = open_store(registry)
    while True:
        number, steps = _history(store, registry, _checked(channel))
        choice = choose(steps)
        if choice is None:
            return None
        action, version = choice
        step = {"version": version, "action": action, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        content = json.dumps({"version": version, "history": [*steps, step]}, indent=2) + "\n"
        if store.create(f"channels/{channel}/{number + 1:08d}.json", content.encode()):
            return step


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
    if not isinstance(step, dict) or not isinstance(step.get("time"), str):
        return False
    version, action = step.get("version"), step.get("action")
    if version is None:
        return action == "end"
    return isinstance(version, str) and VERSION.fullmatch(version) is not None and action in ("promote", "rollback")


def _current(steps: list[Step]) -> str | None:
    """The version that a channel with these steps points at."""
    return steps[-1]["version"] if steps else None


def _checked(channel: str) -> str:
    if channel not in CHANNELS:
        raise InvalidInput(f"channel must be one of {', '.join(CHANNELS)}, got {channel!r}")
    return channel
