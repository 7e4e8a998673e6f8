"""Whether KServe has done what an InferenceService asks for: pure functions of the object that the API server gave.

``Ready`` alone does not say it. KServe (0.20, 0.21; Standard mode) sets it from the predictor's Deployment, which stays
available while its pods are replaced one by one. Two other fields tell the new rollout from the old one:
``status.observedGeneration`` is the generation of that Deployment, and the condition ``PredictorReady`` carries the
reason that the Deployment gives, ``NewReplicaSetAvailable`` once no pod of the old version is left.
"""

from typing import Any

Object = dict[str, Any]
COMPLETE = "NewReplicaSetAvailable"


def generation(service: Object) -> int | None:
    """The generation of the predictor's Deployment that the status is of; None before there is one."""
    observed: int | None = service.get("status", {}).get("observedGeneration")
    return observed


def is_rolled_out(service: Object, past: int | None) -> bool:
    """The Deployment is no longer that of generation ``past``, and its new pods are the only ones."""
    predictor = _condition(service, "PredictorReady")
    changed = generation(service) not in (None, past)
    return changed and is_ready(service) and predictor.get("status") == "True" and predictor.get("reason") == COMPLETE


def is_ready(service: Object) -> bool:
    """The InferenceService answers, with whatever version."""
    return _condition(service, "Ready").get("status") == "True"


def is_canary_ready(service: Object, name: str, traffic: int) -> bool:
    """The canary ``name`` answers and gets ``traffic`` percent."""
    canaries = service.get("status", {}).get("canaryStatuses") or []
    return any(c["name"] == name and c["ready"] and c["trafficPercent"] == traffic for c in canaries)


def has_no_canary(service: Object) -> bool:
    """No canary is left."""
    return not service.get("status", {}).get("canaryStatuses")


def describe(service: Object) -> str:
    """The conditions that are not true, each with its reason and message."""
    conditions = service.get("status", {}).get("conditions") or []
    parts = [
        " ".join(filter(None, (f"{c['type']}={c['status']}", c.get("reason"), c.get("message"))))
        for c in conditions
        if c["status"] != "True"
    ]
    return "; ".join(parts) or "no condition says why"


def _condition(service: Object, kind: str) -> Object:
    conditions = service.get("status", {}).get("conditions") or []
    return next((dict(c) for c in conditions if c["type"] == kind), {})
