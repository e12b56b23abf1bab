"""The server of a live page: answers this machine alone, and only what the page consists of."""

from __future__ import annotations

import json
import mimetypes
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "127.0.0.1"
TYPES = {".js": "text/javascript", ".html": "text/html; charset=utf-8", ".csv": "text/csv"}
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
HEADERS = {
    # Names in run folders are others' words: whatever they say, the page runs its own scripts only.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Connection": "close",  # a kept one would be answered after the server has stopped
}


@dataclass(frozen=True)
class Snapshot:
    """All that can be asked for at one moment: by path, bytes or the file that has them."""

    version: str = ""
    files: dict[str, bytes | Path] = field(default_factory=dict)


class Server(ThreadingHTTPServer):
    """Serves `snapshot`, which the owner replaces as a whole, and `status` as status.json.

    Raises OSError where the port is taken; 0 is a free one.
    """

    daemon_threads = True

    def __init__(self, port: int):
        super().__init__((HOST, port), Handler)
        self.snapshot = Snapshot()
        self.status: dict[str, object] = {}
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def hosts(self) -> set[str]:
        """What a browser on this machine says in the header Host.

        Any other name leads here by a DNS entry of somebody else, whose page would read ours.
        """
        return {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def stop(self) -> None:
        """Answer nothing more, and give the port back."""
        if self.thread.is_alive():
            self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that a connection may be silent
    server_version, sys_version = "fovea", ""

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._answer(403, b"this server answers to localhost alone\n", "text/plain")
            return
        path = self.path.partition("?")[0].lstrip("/") or "index.html"
        if path == "status.json":
            status = {"version": self.server.snapshot.version} | self.server.status
            self._answer(200, json.dumps(status).encode(), "application/json")
            return
        try:
            found = self.server.snapshot.files[path]
            content = found.read_bytes() if isinstance(found, Path) else found
        except (KeyError, OSError):
            self._answer(404, b"there is no such file\n", "text/plain")
            return
        suffix = Path(path).suffix
        kind = TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
        self._answer(200, content, kind)

    do_HEAD = do_GET

    def _answer(self, code: int, content: bytes, kind: str) -> None:
        """`content`, or the part of it that is asked for, as films are when one seeks in them."""
        headers = HEADERS | {"Content-Type": kind, "Accept-Ranges": "bytes"}
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        if code == 200 and asked:
            first = int(asked[1])
            last = min(int(asked[2] or len(content)), len(content) - 1)
            if first > last:
                code, content = 416, b""
            else:
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                code, content = 206, content[first : last + 1]
        self.send_response(code)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Requests are no news."""

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):  # the reader has gone
            self.close_connection = True
