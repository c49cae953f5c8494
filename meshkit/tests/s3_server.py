"""An S3 server on a free port, for as long as its standard input stays open.

One request at a time, so that a conditional write is one step: moto looks and writes in two.
"""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app))
sys.stdout.write(f"{server.port}\n")
sys.stdout.flush()
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
