"""What a verb changes in an InferenceService: pure functions of the object that the API server gave.

Each gives a JSON merge patch. The canary is an entry of ``spec.canary``; in KServe's Standard mode the field
``canaryTrafficPercent`` of a predictor is accepted and ignored, so it is never used.
"""

import copy
from collections.abc import Sequence
from typing import Any

from hakka.errors import InvalidInput, NotFound

CONTAINER = "kserve-container"
SOURCES = ("--channel", "--model-dir")  # what a predictor's arguments say it serves; one of them at a time
Object = dict[str, Any]


def serve_version(service: Object, version: str) -> Object:
    """Pin the stable predictor to ``version``."""
    return {"spec": {"predictor": {"containers": _pin(service, version)}}}


def add_canary(service: Object, version: str, traffic: int) -> Object:
    """Send ``traffic`` percent to a predictor of ``version``, in the place of any canary before.

    KServe fills what the entry leaves out from the stable predictor, and refuses autoscaling in it.
    """
    predictor = {"name": canary_name(version), "minReplicas": 1, "containers": _pin(service, version)}
    return {"spec": {"canary": [{"trafficPercent": traffic, "predictor": predictor}]}}


def promote_canary(service: Object) -> Object:
    """Pin the stable predictor to the canary's version and end the canary.

    The stable predictor keeps its name, so that the address of its Service stays what it was.
    """
    return {"spec": {"canary": None, **serve_version(service, canary_version(service))["spec"]}}


def drop_canary(service: Object) -> Object:
    """Send all traffic to the stable predictor again."""
    canary_version(service)
    return {"spec": {"canary": None}}


def canary_name(version: str) -> str:
    """The name of a canary's predictor. It holds the version: what the status says of it can be of no other one."""
    return f"v{version}"


def canary_version(service: Object) -> str:
    """The version of the canary.

    Raises:
        NotFound: there is no canary.
    """
    entries = service["spec"].get("canary") or []
    if not entries:
        raise NotFound(f"InferenceService {service['metadata']['name']} has no canary")
    return str(entries[0]["predictor"]["name"]).removeprefix("v")


def stable_version(service: Object) -> str | None:
    """The version that the stable predictor is pinned to; None if it follows a channel."""
    args: list[str] = _container(service["spec"]["predictor"]).get("args", [])
    return args[args.index("--model-dir") + 1].rpartition("/")[2] if "--model-dir" in args else None


def pin_args(args: Sequence[str], version: str) -> list[str]:
    """A predictor's arguments with ``--model-dir`` of a version in the place of the channel or version before.

    Raises:
        InvalidInput: they do not say where the registry is.
    """
    pairs = list(zip(args, [*args[1:], ""], strict=True))
    registries = [value for flag, value in pairs if flag == "--registry"]
    if not registries:
        raise InvalidInput(f"arguments of {CONTAINER} must hold --registry DIR, got {list(args)}")
    dropped = {i + offset for i, flag in enumerate(args) if flag in SOURCES for offset in (0, 1)}
    kept = [arg for i, arg in enumerate(args) if i not in dropped]
    return [*kept, "--model-dir", f"{registries[-1]}/versions/{version}"]


def _pin(service: Object, version: str) -> list[Object]:
    """All containers of the stable predictor, pinned: a merge patch replaces a list as a whole."""
    predictor = copy.deepcopy(service["spec"]["predictor"])
    container = _container(predictor)
    container["args"] = pin_args(container.get("args", []), version)
    return list(predictor["containers"])


def _container(predictor: Object) -> Object:
    containers: list[Object] = predictor.get("containers", [])
    for container in containers:
        if container["name"] == CONTAINER:
            return container
    raise InvalidInput(f"the predictor must have a container {CONTAINER}, has {[c['name'] for c in containers]}")
