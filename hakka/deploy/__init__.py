"""Putting a registered version in front of people: on this machine or on Kubernetes."""

import os

from hakka.errors import InvalidInput

TARGETS = ("auto", "local", "kubernetes")


def deploy(version: str, target: str = "auto") -> str:
    """Serve a registered version and say where it stands once it is served.

    ``auto`` is ``kubernetes`` inside a pod of a cluster and ``local`` everywhere else.

    Raises:
        InvalidInput: ``version`` is not 12 hex digits, or ``target`` is not one of ``TARGETS``.
        NotFound: the cluster has no such InferenceService.
        Unavailable: the cluster does not answer, or the version was not served before the deadline.
    """
    from hakka.deploy import kubernetes, local

    if target not in TARGETS:
        raise InvalidInput(f"target: must be one of {', '.join(TARGETS)}, got {target!r}")
    if target == "auto":
        target = "kubernetes" if os.environ.get("KUBERNETES_SERVICE_HOST") else "local"
    return kubernetes.deploy(version) if target == "kubernetes" else local.deploy(version)
