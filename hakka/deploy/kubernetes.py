"""The InferenceService of a cluster: serve a version, try it as a canary, promote it, roll it back.

Owner of the kubernetes client. A change is read, patch, wait: the patch carries the resource version that was read, so
a change by somebody else in between is seen and the verb starts again from what is there now.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakka.deploy import patches, status
from hakka.deploy.patches import Object
from hakka.detector.modelfile import VERSION
from hakka.errors import HakkaError, InvalidInput, NotFound, Unavailable

NAME = "hakka"
NAMESPACE = "hakka"
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
KIND = {"group": "serving.kserve.io", "version": "v1beta1", "plural": "inferenceservices"}
DEADLINE = 600.0
ATTEMPTS = 5
TIMEOUTS = (5, 30)  # seconds to connect, and to answer


def deploy(version: str, *, namespace: str | None = None, name: str = NAME, deadline: float = DEADLINE) -> str:
    """Pin the stable predictor to ``version``; ``serving`` once only its pods answer. A canary goes on as it is.

    ``namespace`` is by default that of the pod this runs in, else ``hakka``; ``deadline`` is in seconds.

    Raises:
        InvalidInput: ``version`` is not 12 hex digits, or the cluster refuses the change.
        NotFound: there is no such InferenceService.
        Unavailable: the cluster does not answer or forbids it, or the rollout did not end before the deadline.
    """
    _check_version(version)
    service = _find_service(namespace, name)
    before = service.change(lambda read: patches.serve_version(read, version))
    _wait_for_rollout(service, before, version, deadline)
    return "serving"


def canary(
    version: str, traffic: int, *, namespace: str | None = None, name: str = NAME, deadline: float = DEADLINE
) -> str:
    """Send ``traffic`` percent of what comes through the gateway to ``version``; ``canary`` once it answers.

    Raises as :func:`deploy`, and InvalidInput if ``traffic`` is not a whole number from 0 to 100.
    """
    _check_version(version)
    if isinstance(traffic, bool) or not isinstance(traffic, int) or not 0 <= traffic <= 100:
        raise InvalidInput(f"traffic must be a whole number of percent from 0 to 100, got {traffic!r}")
    service = _find_service(namespace, name)
    service.change(lambda read: patches.add_canary(read, version, traffic))
    variant = patches.canary_name(version)
    service.wait(lambda now: status.is_canary_ready(now, variant, traffic), f"the canary {version}", deadline)
    return "canary"


def promote(*, namespace: str | None = None, name: str = NAME, deadline: float = DEADLINE) -> str:
    """Make the canary's version the stable one and end the canary; gives the version.

    Raises as :func:`deploy`, and NotFound if there is no canary.
    """
    service = _find_service(namespace, name)
    before = service.change(patches.promote_canary)
    version = patches.canary_version(before)
    _wait_for_rollout(service, before, version, deadline)
    return version


def rollback(*, namespace: str | None = None, name: str = NAME, deadline: float = DEADLINE) -> str | None:
    """End the canary; gives the version that has all traffic again, None if the predictor follows a channel.

    Without a canary, roll back by deploying the earlier version. Raises as :func:`promote`.
    """
    service = _find_service(namespace, name)
    before = service.change(patches.drop_canary)
    service.wait(status.has_no_canary, "the end of the canary", deadline)
    return patches.stable_version(before)


def own_namespace() -> str:
    """The namespace of the pod that this runs in; ``hakka`` outside of a cluster."""
    return OWN_NAMESPACE.read_text().strip() if OWN_NAMESPACE.is_file() else NAMESPACE


def _check_version(version: str) -> None:
    if not VERSION.fullmatch(version):
        raise InvalidInput(f"version must be 12 hex digits, got {version!r}")


def _wait_for_rollout(service: "_Service", before: Object, version: str, deadline: float) -> None:
    # The same version again changes nothing in the Deployment, but its rollout may still be under way.
    past = None if patches.stable_version(before) == version else status.generation(before)
    service.wait(lambda now: status.is_rolled_out(now, past), f"version {version}", deadline)


@dataclass(frozen=True)
class _Service:
    """One InferenceService behind the API server that the environment names."""

    api: Any
    namespace: str
    name: str

    def change(self, patch: Callable[[Object], Object]) -> Object:
        """Apply ``patch`` of the object as it is and return the object as it was; again if it changed in between."""
        for _ in range(ATTEMPTS):
            before = self._call("get_namespaced_custom_object")
            body = patch(before)
            body["metadata"] = {"resourceVersion": before["metadata"]["resourceVersion"]}
            try:
                self._call("patch_namespaced_custom_object", body=body, field_validation="Strict")
            except _ConflictError:
                continue
            return before
        raise Unavailable(f"{self}: changed by somebody else {ATTEMPTS} times in a row")

    def wait(self, is_done: Callable[[Object], bool], what: str, deadline: float) -> None:
        """Read the object until ``is_done``; Unavailable at the deadline."""
        end = time.monotonic() + deadline
        while not is_done(now := self._call("get_namespaced_custom_object")):
            if time.monotonic() >= end:
                raise Unavailable(f"{self}: {what} must be there within {deadline:g} s: {status.describe(now)}")
            time.sleep(min(1.0, deadline / 10))

    def _call(self, method: str, **arguments: Any) -> Object:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        place = {**KIND, "namespace": self.namespace, "name": self.name}
        try:
            return dict(getattr(self.api, method)(**place, **arguments, _request_timeout=TIMEOUTS))
        except ApiException as error:
            raise self._refusal(error.status, error.body) from None
        except HTTPError as error:
            raise Unavailable(f"{self}: the API server does not answer: {error}") from None

    def _refusal(self, code: int, body: str | bytes | None) -> HakkaError:
        try:
            said = json.loads(body or "")["message"]
        except (ValueError, KeyError, TypeError):
            said = f"status {code}"
        if code == 409:
            return _ConflictError(f"{self}: {said}")
        kinds: dict[int, type[HakkaError]] = {400: InvalidInput, 404: NotFound, 422: InvalidInput}
        return kinds.get(code, Unavailable)(f"{self}: {said}")

    def __str__(self) -> str:
        return f"InferenceService {self.namespace}/{self.name}"


class _ConflictError(HakkaError):
    """The object changed between read and patch."""


def _find_service(namespace: str | None, name: str) -> _Service:
    """The service, on the cluster that this pod is in, else on that of the kubeconfig's current context."""
    from kubernetes import client, config

    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config()
        else:
            config.load_kube_config(config_file=os.environ.get("KUBECONFIG"))
    except config.ConfigException as error:
        raise Unavailable(f"no cluster to talk to: {error}") from None
    return _Service(client.CustomObjectsApi(), namespace or own_namespace(), name)
