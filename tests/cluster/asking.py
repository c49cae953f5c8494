"""Asks one thing over HTTP and writes the status and the body as they come.

A process of its own, so that it runs where nodes are reached (`Cluster.inside`).
"""

import http.client
import json
import sys
from contextlib import closing


def main() -> None:
    """Asks what its input says: `address`, `path`, `headers`, `body` and `timeout_s`."""
    asked = json.load(sys.stdin)
    connection = http.client.HTTPConnection(asked["address"], timeout=asked["timeout_s"])
    with closing(connection):
        connection.request("POST", asked["path"], json.dumps(asked["body"]), asked["headers"])
        answer = connection.getresponse()
        sys.stdout.write(f"{answer.status}\n")
        sys.stdout.flush()
        for line in answer:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
