"""The secrets that API keys are hashed with (HMAC-SHA-256): a file, the newest first.

Keys are made with the newest. One made with an older one stays valid for as long as that stands in
the file, and is hashed anew when it is next used, since only then is the key itself at hand.
"""

import contextlib
import functools
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from meshkit.errors import StartError
from meshkit.keys import ApiKey

_FORM: Final = re.compile(r"[0-9a-f]{64}")
_MOST: Final = 16


@dataclass(frozen=True)
class HashingKey:
    """One secret."""

    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new secret."""
        return cls(secrets.token_bytes(32))

    @functools.cached_property
    def id(self) -> str:
        """A public id, which a record keeps so that it is known what it was hashed with."""
        return hashlib.sha256(b"mesh hashing key:" + self.secret).hexdigest()[:16]

    def hash(self, key: ApiKey) -> bytes:
        """The keyed hash of an API key."""
        return hmac.digest(self.secret, key.text.encode(), "sha256")

    def matches(self, key: ApiKey, hashed: bytes) -> bool:
        """Whether a hash is that of the key; takes the same time whatever the answer."""
        return hmac.compare_digest(self.hash(key), hashed)


@dataclass(frozen=True)
class HashingKeys:
    """The secrets of a mesh, the newest first; at least one."""

    all: tuple[HashingKey, ...]

    @property
    def current(self) -> HashingKey:
        """The one that keys are made with."""
        return self.all[0]

    def find(self, key_id: str) -> HashingKey | None:
        """The one with this id."""
        return next((each for each in self.all if each.id == key_id), None)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the file.

        Raises:
            StartError: it is missing, can't be read, or holds something else.
        """
        try:
            lines = path.read_text(encoding="ascii").split()
        except FileNotFoundError:
            raise StartError(
                f"there is no hashing key at {path}; `mesh keys create` makes one, or set "
                "MESH_HASHING_KEY_PATH to the one that the API keys were made with"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"can't read the hashing key at {path}: {error}") from error
        if not 0 < len(lines) <= _MOST or not all(map(_FORM.fullmatch, lines)):
            raise StartError(
                f"{path} holds no hashing keys: it should have 1 to {_MOST} lines of 64 "
                "hexadecimal digits"
            )
        return cls(tuple(HashingKey(bytes.fromhex(line)) for line in lines))

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Reads the file, or makes one with a new secret where there is none.

        Raises:
            StartError: it can't be read or written.
        """
        if not path.exists():
            with _told(path):
                _write(path, [HashingKey.generate()], replace=False)
        return cls.load(path)

    def rotate(self, path: Path) -> Self:
        """Puts a new secret before the others, in the file too.

        Raises:
            StartError: there are too many already, or the file can't be written.
        """
        if len(self.all) >= _MOST:
            raise StartError(
                f"{path} holds {_MOST} hashing keys already; `mesh keys rotate-hashing-key "
                "--prune` takes out those that no key needs"
            )
        return self._replaced(path, (HashingKey.generate(), *self.all))

    def keep(self, path: Path, ids: Iterable[str]) -> Self:
        """Takes out the secrets but the current one and those with these ids, in the file too.

        Raises:
            StartError: the file can't be written.
        """
        wanted = {self.current.id, *ids}
        return self._replaced(path, tuple(each for each in self.all if each.id in wanted))

    def _replaced(self, path: Path, all_: tuple[HashingKey, ...]) -> Self:
        with _told(path):
            _write(path, all_, replace=True)
        return type(self)(all_)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartError(f"can't write a hashing key to {path}: {error}") from error


def _write(path: Path, keys: Iterable[HashingKey], *, replace: bool) -> None:
    """Puts a file that only its owner reads in place whole.

    Without `replace`, one that another process has put there first stays.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, written = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.writelines(f"{key.secret.hex()}\n" for key in keys)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(written).replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(written, path)
    finally:
        Path(written).unlink(missing_ok=True)
