import errno

import pytest

from mesh_cli.failures import of_os_error


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full (/srv/x): free some space"),
        (errno.EACCES, "no permission to write (/srv/x): change the owner"),
        (errno.EIO, "Input/output error (/srv/x)"),
    ],
)
def test_errors_of_the_system_are_one_line_with_their_remedy(number: int, said: str) -> None:
    message = str(of_os_error(OSError(number, "Input/output error", "/srv/x")))
    assert message.startswith(said)
    assert "\n" not in message
