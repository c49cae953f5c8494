"""What `helm test` does: it makes a key, classifies texts with it, and revokes the key."""

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final

TEXTS: Final = ["A quiet film that stays with you.", "The plot goes nowhere, slowly."]


def main() -> None:
    """Makes the call until it is answered as it should, or the time is up.

    It is told where the gateway is (TEST_URL), how long to try (TEST_TIMEOUT_S), and which
    certificate the gateway shows where it speaks TLS (TEST_CERTIFICATE).
    """
    expect(lambda: call("not-a-key"), 401)
    key = mesh("keys", "create", "helm-test", "--tenant", "helm-test", "--expires", "30m").strip()
    try:
        answer = expect(lambda: call(key), 200)
    finally:
        say(mesh("keys", "revoke", key.split("_")[1]).strip())
    labels = [result.get("label") for result in answer["results"]]
    if len(labels) != len(TEXTS) or None in labels:
        raise SystemExit(f"{len(TEXTS)} texts were sent, and the answer is {answer}")
    say(f"labels {labels}, version {answer['lineage']['version']}")


def expect(attempt: Callable[[], tuple[int, Any]], status: int) -> Any:
    """Tries again, every second, until an answer has the status; gives its body."""
    until = time.monotonic() + float(os.environ["TEST_TIMEOUT_S"])
    while True:
        found, body = attempt()
        if found == status:
            say(f"{status} as it should be")
            return body
        if time.monotonic() > until:
            raise SystemExit(f"the gateway answers {found}, not {status}: {body}")
        time.sleep(1)


def call(key: str) -> tuple[int, Any]:
    """The status and the body of one request; status 0 where there is no answer."""
    body = json.dumps({"texts": TEXTS}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    url = os.environ["TEST_URL"] + "/v1/classify"
    request = urllib.request.Request(url, body, headers)  # noqa: S310  # the chart's own address
    try:
        with urllib.request.urlopen(request, timeout=30, context=trust()) as response:  # noqa: S310  # the same
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def trust() -> ssl.SSLContext | None:
    """Trusts the gateway's own certificate and no other; None for plain HTTP.

    It was made for the names that callers use, which this pod does not.
    """
    certificate = os.environ.get("TEST_CERTIFICATE")
    if not certificate:
        return None
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def mesh(*arguments: str) -> str:
    """What the `mesh` command of the image says."""
    ran = subprocess.run(["mesh", *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"mesh {' '.join(arguments)}: {ran.stderr or ran.stdout}")
    return ran.stdout


def say(line: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
