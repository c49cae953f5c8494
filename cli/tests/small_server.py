"""A small HTTP server that answers with its process id and ends well on SIGTERM."""

import http.server
import os
import signal
import sys
from types import FrameType


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Writes nothing: the pipe to a killed supervisor is broken."""


def finish(_signal: int, _frame: FrameType | None) -> None:
    sys.stdout.write("drained\n")
    sys.exit(0)


if __name__ == "__main__":
    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    signal.signal(signal.SIGTERM, finish)
    server.serve_forever()
