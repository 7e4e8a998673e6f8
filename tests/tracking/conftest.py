"""A stand-in for ClearML's API server, as much of it as a task needs: it answers, and keeps what it was sent."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

STATES = {"tasks.started": "in_progress", "tasks.completed": "completed"}
CLAIMS = {"exp": 4_000_000_000, "iat": 1_700_000_000, "api_version": "2.20", "server_version": "1.14.0", "env": ""}


def _token():
    parts = [json.dumps(value).encode() for value in ({"alg": "HS256", "typ": "JWT"}, CLAIMS)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in [*parts, b"signature"])


class ClearMLServer(ThreadingHTTPServer):
    """Tasks and models by id, events and uploaded files as sent; ``refuses`` makes every login fail."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tasks, self.models, self.events, self.files = {}, {}, [], []
        self.refuses = False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, call, body):
        if call == "auth.login":
            return {"token": _token()}
        if call == "tasks.create":
            task = {
                **body,
                "id": f"{len(self.tasks) + 1:032x}",
                "status": "created",
                "output": {},
                "last_update": "2026-01-01T00:00:00",
            }
            self.tasks[task["id"]] = task
            return {"id": task["id"]}
        if call in ("tasks.get_by_id", "tasks.get_all"):
            found = [self.tasks[key] for key in [body.get("task"), *(body.get("id") or [])] if key in self.tasks]
            return {"task": found[0]} if call == "tasks.get_by_id" else {"tasks": found}
        if call == "models.create":
            model = {"system_tags": [], **body, "id": f"m{len(self.models) + 1:031x}", "ready": False}
            self.models[model["id"]] = model
            return {"id": model["id"], "created": True}
        if call in ("models.get_by_id", "models.get_all"):
            found = [self.models[key] for key in [body.get("model"), *(body.get("id") or [])] if key in self.models]
            return {"model": found[0]} if call == "models.get_by_id" else {"models": found}
        return self.change(call, body)

    def change(self, call, body):
        task, model = self.tasks.get(body.get("task")), self.models.get(body.get("model"))
        if model is not None and call in ("models.edit", "models.update"):
            model.update({key: value for key, value in body.items() if key not in ("model", "force")})
        if task is not None and call == "tasks.edit":
            task.update({key: value for key, value in body.items() if key not in ("task", "force")})
        elif task is not None and call == "tasks.add_or_update_artifacts":
            execution = task.setdefault("execution", {})
            artifacts = {item["key"]: item for item in [*execution.get("artifacts", []), *body["artifacts"]]}
            execution["artifacts"] = list(artifacts.values())
        elif task is not None and call in STATES:
            task["status"] = STATES[call]
        return {
            "updated": 1,
            "fields": {},
            "id": "f" * 32,
            "projects": [],
            "project": {"id": "f" * 32, "name": "hakka"},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = self.path.strip("/").split("?")[0].split("/")[-1]
        if "multipart" in self.headers.get("Content-Type", ""):
            self.server.files.append(raw)
            return self.reply({})
        if call == "auth.login" and self.server.refuses:
            return self.reply({}, 401)
        if call == "events.add_batch":
            self.server.events += [json.loads(line) for line in raw.splitlines() if line.strip()]
            return self.reply({"added": 1, "errors": 0})
        return self.reply(self.server.answer(call, json.loads(raw or b"{}")))

    do_GET = do_PUT = do_POST  # noqa: N815

    def reply(self, data, code=200):
        meta = {"result_code": code, "result_subcode": 0, "result_msg": "OK" if code == 200 else "no", "id": "1"}
        body = json.dumps({"meta": meta, "data": data})
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def clearml_server():
    """Give a running stand-in; ``url`` is its address."""
    server = ClearMLServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
