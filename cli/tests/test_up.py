import json
import shlex

from mesh_cli import up


def test_the_curl_line_survives_a_shell() -> None:
    line = up.curl_line("http://127.0.0.1:8080", "mesh_a_b")
    words = shlex.split(line)
    assert "\n" not in line
    assert words[:3] == ["curl", "-sS", "http://127.0.0.1:8080/v1/classify"]
    assert "Authorization: Bearer mesh_a_b" in words
    body = json.loads(words[words.index("-d") + 1])
    assert list(body) == ["texts"]
    assert all(isinstance(text, str) and text for text in body["texts"])
