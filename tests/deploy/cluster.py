"""A small Kubernetes API server with one InferenceService and what KServe would do to it.

It speaks HTTP: GET and JSON merge PATCH of the object, resource versions, strict field validation, a token and the
rights of the role in ``manifests/``. After a change KServe's part of the status goes through the steps of a rolling
update, one step a read, so that a client which believes the first ``Ready`` is wrong.
"""

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.manifests.custom_resources import FOLDER, CustomResources

TOKEN = "of-the-pipeline"
PATH = "/apis/serving.kserve.io/v1beta1/namespaces/hakka/inferenceservices/hakka"


@cache
def load_schemas() -> CustomResources | None:
    """The schemas, where they are: elsewhere this server takes any field."""
    return CustomResources() if FOLDER.is_dir() else None


class RefusalError(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        self.code = code
        self.body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


class Cluster:
    """The stored object. ``stuck`` never ends a rollout; ``intruders`` foreign writes come before the next patches."""

    def __init__(self, service: dict[str, Any]) -> None:
        self.stored = copy.deepcopy(service)
        self.stored["metadata"] |= {"resourceVersion": "100", "generation": 1}
        self.deployment = 1
        self.pending: list[dict[str, Any]] = []
        self.served = self._args()
        self.stored["status"] = self._status("NewReplicaSetAvailable")
        self.stuck = False
        self.intruders = 0
        self.patches: list[dict[str, Any]] = []
        self.schemas = load_schemas()
        self.lock = threading.Lock()

    def read(self) -> dict[str, Any]:
        """The object; KServe takes one step after each read."""
        answer = copy.deepcopy(self.stored)
        if not self.pending:
            self.served = self._args()
        elif not (self.stuck and len(self.pending) == 1):
            self.stored["status"] = self.pending.pop(0)
        return answer

    def patch(self, change: dict[str, Any], content_type: str, strict: bool) -> dict[str, Any]:
        if content_type != "application/merge-patch+json":
            raise RefusalError(415, "UnsupportedMediaType", f"the body was in an unsupported format: {content_type}")
        if self.intruders:
            self.intruders -= 1
            self._bump()
        if change.get("metadata", {}).get("resourceVersion", self.version) != self.version:
            raise RefusalError(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        before, after = self.stored, merge(self.stored, change)
        after["metadata"]["resourceVersion"] = self.version
        self._admit(after, strict)
        self.patches.append(change)
        self.stored = after
        self._bump()
        if after["spec"] != before["spec"]:
            after["metadata"]["generation"] += 1
            self._reconcile(before["spec"], after["spec"])
        return after

    @property
    def version(self) -> str:
        return self.stored["metadata"]["resourceVersion"]

    def _bump(self) -> None:
        self.stored["metadata"]["resourceVersion"] = str(int(self.version) + 1)

    def _args(self) -> list[str]:
        return list(self.stored["spec"]["predictor"]["containers"][0]["args"])

    def _admit(self, service: dict[str, Any], strict: bool) -> None:
        """The API server's schema, and the rules of KServe's webhook for canaries."""
        written = copy.deepcopy(service)
        for key in ("resourceVersion", "generation"):
            written["metadata"].pop(key)
        if strict and self.schemas and (problems := self.schemas.problems(written)):
            raise RefusalError(422, "Invalid", f"InferenceService is invalid: {problems}")
        stable = service["spec"]["predictor"]
        for entry in service["spec"].get("canary") or []:
            canary = entry["predictor"]
            environment = [v["name"] for v in stable["containers"][0].get("env", [])]
            if "STORAGE_URI" not in environment and "model" not in stable:
                raise RefusalError(400, "BadRequest", "canary requires a stable predictor with a model")
            if not canary.get("name") or {"maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"} & set(canary):
                raise RefusalError(400, "BadRequest", "canary: name is required, autoscaling must not be set")
            if canary.get("minReplicas", 1) > stable.get("minReplicas", 1):
                raise RefusalError(400, "BadRequest", "canary minReplicas must not exceed stable predictor minReplicas")

    def _reconcile(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """The statuses that come next: at first the old one, still Ready; then the rollout; then its end."""
        old = copy.deepcopy(self.stored["status"])
        if before["predictor"] != after["predictor"]:
            self.deployment += 1
        rolling = self._status("ReplicaSetUpdated", canary_ready=False)
        self.pending = [old, rolling, self._status("NewReplicaSetAvailable")]

    def _status(self, reason: str, *, canary_ready: bool = True) -> dict[str, Any]:
        # A Deployment with pods left is available: Ready stays True while they are replaced.
        progress = reason if reason == "NewReplicaSetAvailable" else "MinimumReplicasAvailable"
        status: dict[str, Any] = {
            "observedGeneration": self.deployment,
            "conditions": [
                {"type": "PredictorReady", "status": "True", "reason": progress},
                {"type": "Ready", "status": "True"},
            ],
        }
        canaries = self.stored["spec"].get("canary") or []
        if canaries:
            ready = "True" if canary_ready else "False"
            status["conditions"].append({"type": "CanaryPredictorReady", "status": ready, "reason": "CanariesNotReady"})
            status["canaryStatuses"] = [
                {"name": c["predictor"]["name"], "ready": canary_ready, "trafficPercent": c["trafficPercent"]}
                for c in canaries
            ]
        return status


def merge(target: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return copy.deepcopy(merged)


@contextmanager
def api_server(cluster: Cluster, kubeconfig: Path) -> Iterator[Path]:
    """Serve the cluster, and write a kubeconfig that leads to it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, act: Any) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            try:
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    raise RefusalError(401, "Unauthorized", "Unauthorized")
                if not path.startswith(PATH.rpartition("/")[0] + "/"):
                    raise RefusalError(403, "Forbidden", f"hakka-pipeline cannot {self.command} {path}")
                if path != PATH:
                    name = path.rpartition("/")[2]
                    raise RefusalError(404, "NotFound", f'inferenceservices.serving.kserve.io "{name}" not found')
                with cluster.lock:
                    code, value = 200, act(json.loads(body or "null"), query)
            except RefusalError as refusal:
                code, value = refusal.code, refusal.body
            text = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.answer(lambda body, query: cluster.read())

        def do_PATCH(self) -> None:
            kind = self.headers["Content-Type"]
            self.answer(lambda body, query: cluster.patch(body, kind, strict="fieldValidation=Strict" in query))

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {"token": TOKEN}}],
    }
    kubeconfig.write_text(yaml.safe_dump(config))
    try:
        yield kubeconfig
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
