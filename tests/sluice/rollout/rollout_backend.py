"""An HTTP server whose errors a test can switch: ``python rollout_backend.py RELEASE ADDRESS-FILE MODE-FILE``.

The mode is JSON, ``{"errors": share, "status": code, "delay": seconds, "live": bool, "rejects": key, "faults": bool,
"leak": bytes}``. The
server reads it with every request. It answers 400 to a request that is not a JSON object, or that contains the key `rejects`.
Like a real server, it keeps what it rejected and what failed, unless `faults` is false.
"""

from __future__ import annotations

import json
import mmap
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sluice.scoring.faults import FAULTS_PATH, HIDDEN, Faults

RELEASE, ADDRESS, MODE = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

LEAKED: list[mmap.mmap] = []
"""What the requests have left behind. Its pages are never written, so it takes address space only."""

FAULTS = Faults()
FAULTS.start(HIDDEN)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, status: int, document: object = None) -> None:
        body = json.dumps(document or {"release": RELEASE, "path": self.path}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        mode = json.loads(MODE.read_text())
        if self.path.startswith(FAULTS_PATH) and mode.get("faults", True):
            after = parse_qs(urlsplit(self.path).query)["after"][0]
            self.answer(200, FAULTS.to_dict(int(after)))
            return
        self.answer(404 if self.path.startswith(FAULTS_PATH) else 200 if mode.get("live", True) else 503)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        mode = json.loads(MODE.read_text())
        time.sleep(mode.get("delay", 0.0))
        if leak := mode.get("leak", 0):
            LEAKED.append(mmap.mmap(-1, leak, flags=mmap.MAP_PRIVATE))
        failed = random.random() < mode.get("errors", 0.0)  # noqa: S311
        status = mode.get("status", 500) if failed else 400 if self.rejects(body, mode.get("rejects")) else 200
        if 400 <= status < 500:
            FAULTS.add_rejected(body, self.headers.get("content-type", ""), "column 'plan' is missing")
        elif status >= 500:
            FAULTS.add_failure("ValueError in model.py:7 (predict)", "no such plan: 'gold'", ["plan", "age"], [["gold", 31]])
            sys.stderr.write("a line with the value gold\n")
        self.answer(status)

    def rejects(self, body: bytes, key: str | None) -> bool:
        try:
            return not isinstance(request := json.loads(body), dict) or key in request
        except ValueError:
            return True

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    draft = ADDRESS.with_suffix(".draft")
    draft.write_text(str(server.server_port))
    draft.replace(ADDRESS)
    server.serve_forever()
