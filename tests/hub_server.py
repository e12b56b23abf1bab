"""A small server on this machine that speaks the protocol of the Hugging Face Hub.

It answers what huggingface_hub asks for files (HEAD and GET of /ORG/NAME/resolve/REVISION/FILE) and
for a commit (POST below /api), keeps all in memory, and fails where a test asks it to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
COMMIT = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>preupload|commit)/(?P<branch>.+)")


@dataclass
class Fault:
    """What goes wrong with a file.

    Attributes:
        method: the request that it happens to; None for both.
        status: code of an error to answer with.
        cut: bytes after which the connection ends.
        content: what is sent instead of the file.
        seconds: to wait before each quarter of it.
        stall: seconds of silence after the first quarter.
        headers: that are sent instead of the right ones; None leaves one out.
        times: how often it happens; None for always.
    """

    method: str | None = None
    status: int | None = None
    cut: int | None = None
    content: bytes | None = None
    seconds: float = 0
    stall: float = 0
    headers: dict[str, str | None] = field(default_factory=dict)
    times: int | None = None


class Hub:
    """Repositories, what is wrong with them, and what was asked for.

    Attributes:
        repos: {ORG/NAME: {branch, tag or commit: commit}}.
        commits: {commit: {file: content}}.
        faults: {file: what is wrong with it}.
        token: that a request to write must have; None for none.
        then: {file: what happens once it was sent}.
        asked: "METHOD FILE" of each request for a file, in their order.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, str]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.faults: dict[str, Fault] = {}
        self.token: str | None = None
        self.then: dict[str, Callable[[], object]] = {}
        self.asked: list[str] = []
        self.endpoint = ""

    def add(self, repo: str, files: Path | dict[str, bytes], branch: str = "main") -> str:
        """A new commit on a branch, of these files alone; returns it."""
        if isinstance(files, Path):
            files = {path.name: path.read_bytes() for path in files.iterdir()}
        said = repr((repo, sorted(files.items()), len(self.commits)))
        commit = hashlib.sha1(said.encode()).hexdigest()
        self.commits[commit] = files
        self.repos.setdefault(repo, {}).update({branch: commit, commit: commit})
        return commit

    def fault(self, method: str, file: str) -> Fault | None:
        """What goes wrong this time."""
        found = self.faults.get(file)
        if not found or found.method not in (None, method) or found.times == 0:
            return None
        if found.times is not None:
            found.times -= 1
        return found


class Handler(BaseHTTPRequestHandler):
    """Answers the requests for `hub`, an attribute that `serving` sets."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_file()

    def do_GET(self) -> None:
        self.send_file()

    def send_file(self) -> None:
        found = RESOLVE.fullmatch(self.path)
        if not found:
            return self.answer(404)
        revisions = self.hub.repos.get(found["repo"])
        if revisions is None:
            return self.answer(404, {"X-Error-Code": "RepoNotFound"})
        commit = revisions.get(found["revision"])
        if commit is None:
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        content = self.hub.commits[commit].get(found["file"])
        self.hub.asked.append(f"{self.command} {found['file']}")
        headers: dict[str, str | None] = {"X-Repo-Commit": commit}
        if content is None:
            return self.answer(404, headers | {"X-Error-Code": "EntryNotFound"})
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        fault = self.hub.fault(self.command, found["file"]) or Fault()
        if fault.status:
            return self.answer(fault.status, fault.headers)
        self.answer(200, headers | fault.headers, fault.content or content, fault)
        if self.command == "GET" and found["file"] in self.hub.then:
            self.hub.then.pop(found["file"])()
        return None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.hub.token and self.headers["Authorization"] != f"Bearer {self.hub.token}":
            return self.answer(401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            code = 409 if repo in self.hub.repos else 200
            self.hub.repos.setdefault(repo, {})
            return self.answer_json({"url": f"{self.hub.endpoint}/{repo}"}, code)
        if self.path == "/api/validate-yaml":
            return self.answer_json({"errors": [], "warnings": []})
        found = COMMIT.fullmatch(self.path)
        if not found or found["repo"] not in self.hub.repos:
            return self.answer(404, {"X-Error-Code": "RepoNotFound"})
        if found["what"] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]
            ]
            return self.answer_json({"files": files})
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        commit = self.hub.add(found["repo"], files, found["branch"])
        url = f"{self.hub.endpoint}/{found['repo']}/commit/{commit}"
        return self.answer_json({"success": True, "commitOid": commit, "commitUrl": url})

    def answer_json(self, value: object, code: int = 200) -> None:
        self.answer(code, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def answer(
        self,
        code: int,
        headers: dict[str, str | None] | None = None,
        content: bytes = b"",
        fault: Fault | None = None,
    ) -> None:
        fault = fault or Fault()
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        quarter = len(content) // 4 + 1
        for start in range(0, len(content), quarter):
            time.sleep(fault.seconds + (fault.stall if start == quarter else 0))
            try:
                self.wfile.write(content[start : start + quarter][: fault.cut])
            except ConnectionError:  # who asked has given up
                self.close_connection = True
                return
            if fault.cut is not None:
                self.close_connection = True
                return


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers at its `endpoint`, on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
