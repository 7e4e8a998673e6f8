"""A small real HTTP server with the part of the Kubeflow Pipelines API that a submission needs."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

API = "/apis/v2beta1"


class Endpoint(ThreadingHTTPServer):
    """Experiments, pipelines, versions, runs and schedules in memory; ``token`` set: only requests that carry it."""

    daemon_threads = True

    def __init__(self, token=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.token = token
        self.experiments, self.pipelines, self.versions, self.runs, self.schedules = [], [], [], [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, query = self.opened()
        if path is None:
            return
        server = self.server
        wanted = json.loads(query["filter"][0])["predicates"][0]["stringValue"] if "filter" in query else None
        if path == f"{API}/healthz":
            self.answer({"multi_user": False})
        elif path == f"{API}/experiments":
            self.answer({"experiments": named(server.experiments, wanted)})
        elif path == f"{API}/pipelines":
            self.answer({"pipelines": named(server.pipelines, wanted)})
        elif match := re.fullmatch(f"{API}/pipelines/([^/]+)/versions", path):
            of_pipeline = [version for version in server.versions if version["pipeline_id"] == match[1]]
            self.answer({"pipeline_versions": named(of_pipeline, wanted)})
        else:
            self.answer({"message": f"no such resource: {path}"}, 404)

    def do_POST(self):
        path, query = self.opened()
        if path is None:
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        if path == f"{API}/pipelines/upload":
            self.add(server.pipelines, "pipeline_id", display_name=query["name"][0])
        elif path == f"{API}/pipelines/upload_version":
            document = re.search(rb"\r\n\r\n(# PIPELINE DEFINITION.*?)\r\n--", body, re.DOTALL)[1].decode()
            about = {"display_name": query["name"][0], "pipeline_id": query["pipelineid"][0], "document": document}
            self.add(server.versions, "pipeline_version_id", **about)
        elif path == f"{API}/experiments":
            self.add(server.experiments, "experiment_id", **json.loads(body))
        elif path == f"{API}/runs":
            run = json.loads(body)
            if run["runtime_config"]["parameters"].get("target") == "forbidden":
                self.answer({"message": "the service account may not run this"}, 403)
            else:
                self.add(server.runs, "run_id", **run)
        elif path == f"{API}/recurringruns":
            self.add(server.schedules, "recurring_run_id", **json.loads(body))
        else:
            self.answer({"message": f"no such resource: {path}"}, 404)

    def opened(self):
        """The path and query of a request that may come in; else it is answered and the path is None."""
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.answer({"message": "no valid token"}, 401)
            return None, {}
        parts = urlsplit(self.path)
        return parts.path, parse_qs(parts.query)

    def add(self, kept, key, **values):
        kept.append({key: f"{key}-{len(kept) + 1}", **values})
        self.answer(kept[-1])

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def named(things, name):
    return [thing for thing in things if name is None or thing["display_name"] == name]
