"""A loopback W&B server that answers API queries for runs, or fails."""

import gzip
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SILENT = "silent"


class Server(ThreadingHTTPServer):
    """Serves and takes runs.

    Attributes:
        runs: what there is, each with `name`, `config`, `summary`, `group`, `state`.
        fault: HTTP status, or silence, of requests that hold the text `at`; None for none.
        asked: the queries and their variables.
        pushed: rows of history and the summary, by run, that were sent.
    """

    daemon_threads = True

    def __init__(self, runs=(), fault=None, at=""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs, self.fault, self.at, self.asked = list(runs), fault, at, []
        self.pushed = {}
        self.over = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        text, server = data.decode(errors="replace"), self.server
        try:
            body = json.loads(text)
        except ValueError:  # the package's report of its own use
            body = {}
        if server.fault is not None and server.at in f"{self.path} {text}":
            if server.fault == SILENT:
                server.over.wait()
            else:
                self._answer(server.fault, {"errors": [{"message": "no"}]})
        elif self.path.endswith("/file_stream"):
            self._take(self.path.split("/")[-2], body)
            self._answer(200, {})
        else:
            query, variables = body.get("query", ""), body.get("variables") or {}
            server.asked.append((query, variables))
            self._answer(200, {"data": self._data(query, variables)})

    def _take(self, name, body):
        run = self.server.pushed.setdefault(name, {"history": [], "summary": {}})
        files = body.get("files") or {}
        for line in files.get("wandb-history.jsonl", {}).get("content", []):
            run["history"].append(json.loads(line))
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run["summary"] = json.loads(line)

    def _data(self, query, variables):
        data = {}
        if "viewer" in query:
            data["viewer"] = {
                "id": "1",
                "flags": None,
                "entity": "someone",
                "username": "someone",
                "email": None,
                "admin": False,
                "apiKeys": {"edges": []},
                "teams": {"edges": []},
            }
        if "createArtifact(" in query:  # as if it were there already, so that no file is sent
            sequence = {"id": "1", "latestArtifact": {"id": "1", "versionIndex": 0}}
            there = {"id": "1", "state": "COMMITTED", "artifactSequence": sequence}
            data["createArtifact"] = {"artifact": there}
        elif "createRunFiles(" in query:
            data["createRunFiles"] = {"runID": "1", "uploadHeaders": [], "files": []}
        elif "query RunResumeStatus" in query:
            data["model"] = {"bucket": self._resumed(variables["name"])}
        elif "upsertBucket" in query:
            data["upsertBucket"] = {"bucket": self._bucket(variables), "inserted": True}
        elif "query ArtifactType" in query:
            data["project"] = {"artifact": None}
        elif "project(" in query:
            filters = json.loads(variables.get("filters") or "{}")
            ids = filters.get("name", {}).get("$in", [])
            found = [run for run in self.server.runs if run["name"] in ids]
            edges = [{"node": self._node(run), "cursor": run["name"]} for run in found]
            page = {"endCursor": None, "hasNextPage": False}
            runs = {"edges": edges, "pageInfo": page, "totalCount": len(found)}
            project = {"internalId": "1", "runCount": len(found), "readOnly": True, "runs": runs}
            data["project"] = project
        return data

    def _bucket(self, variables):
        project = {"id": "1", "name": "ltbench", "entity": {"id": "1", "name": "me"}}
        return {
            "id": variables["name"],
            "name": variables["name"],
            "displayName": "a run",
            "description": None,
            "config": "{}",
            "sweepName": None,
            "historyLineCount": 0,
            "project": project,
        }

    def _resumed(self, name):
        """Return what has been pushed of a run, None where nothing has."""
        pushed = self.server.pushed.get(name)
        if pushed is None:
            return None
        tail = [json.dumps(row) for row in pushed["history"][-1:]]
        return {
            "name": name,
            "historyLineCount": len(pushed["history"]),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps(tail),
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(pushed["summary"]),
            "config": "{}",
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _node(self, run):
        wrapped = {name: {"value": value} for name, value in run["config"].items()}
        return {
            "id": run["name"],
            "name": run["name"],
            "displayName": run["name"],
            "state": run["state"],
            "group": run["group"],
            "jobType": "train",
            "tags": [],
            "config": json.dumps(wrapped),
            "summaryMetrics": json.dumps(run["summary"]),
            "systemMetrics": "{}",
            "sweepName": None,
            "description": None,
            "notes": None,
            "commit": None,
            "readOnly": True,
            "createdAt": "2026-01-01T00:00:00Z",
            "heartbeatAt": "2026-01-01T00:00:00Z",
            "user": {"name": "me", "username": "me"},
            "historyKeys": None,
            "historyLineCount": 0,
            "projectId": "1",
            "internalId": "1",
        }

    def _answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def serving(runs=(), fault=None, at=""):
    """Serve on loopback until the block ends."""
    server = Server(runs, fault, at)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
