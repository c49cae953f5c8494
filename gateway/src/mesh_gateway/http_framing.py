"""What a head must be, where the parser is lenient: two readers of it might see different requests.

Source: RFC 9112, sections 2.3 (versions), 3.2 (host) and 6.1 (transfer codings).
"""

from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]


def check_head(method: bytes, version: str, headers: Headers) -> str | None:
    """What is wrong with a head, if anything.

    Args:
        method: of the request.
        version: of HTTP.
        headers: their names in lower case.
    """
    if version not in ("1.0", "1.1"):
        return f"the request says HTTP/{version}"
    if method == b"CONNECT":
        return "the method is CONNECT, which asks for a proxy"
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version == "1.0"):
            return (
                f"transfer-encoding is {value[:32]!r} over HTTP/{version}; 'chunked' alone may be"
            )
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return f"the request has {hosts} host headers and must have one"
    return None


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """The head of a request without its wish for another protocol."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])
