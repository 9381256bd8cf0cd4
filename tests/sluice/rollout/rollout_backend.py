"""An HTTP server whose errors a test can switch: ``python rollout_backend.py RELEASE ADDRESS-FILE MODE-FILE``.

The mode is JSON, ``{"errors": share, "status": code, "delay": seconds, "live": bool}``. The server reads it with every request.
"""

from __future__ import annotations

import json
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RELEASE, ADDRESS, MODE = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, status: int) -> None:
        body = json.dumps({"release": RELEASE, "path": self.path}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer(200 if json.loads(MODE.read_text()).get("live", True) else 503)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        mode = json.loads(MODE.read_text())
        time.sleep(mode.get("delay", 0.0))
        failed = random.random() < mode.get("errors", 0.0)  # noqa: S311
        self.answer(mode.get("status", 500) if failed else 200)

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    draft = ADDRESS.with_suffix(".draft")
    draft.write_text(str(server.server_port))
    draft.replace(ADDRESS)
    server.serve_forever()
