"""The secrets that keys are hashed with, and their file."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meshkit.errors import StartError
from meshkit.hashing_keys import HashingKey, HashingKeys
from meshkit.keys import ApiKey

KEY = HashingKey(bytes(range(32)))
OTHER = HashingKey(bytes(32))


def test_only_the_own_key_matches() -> None:
    key = ApiKey.generate()
    assert KEY.matches(key, KEY.hash(key))
    assert not KEY.matches(ApiKey(key.id, ApiKey.generate().text), KEY.hash(key))
    assert not OTHER.matches(key, KEY.hash(key))


def test_the_secret_is_in_no_repr() -> None:
    assert repr(KEY) == "HashingKey()"
    assert KEY.secret.hex() not in repr(HashingKeys((KEY, OTHER)))
    assert KEY.id not in KEY.secret.hex()


def test_the_first_use_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "hashing.key"
    made = HashingKeys.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [HashingKeys.load(path), HashingKeys.load_or_create(path)] == [made, made]
    assert list(path.parent.iterdir()) == [path]


def test_those_that_make_it_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "hashing.key"
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: HashingKeys.load_or_create(path), range(64)))
    assert {keys.current.id for keys in made} == {HashingKeys.load(path).current.id}


def test_a_rotation_puts_a_new_secret_first(tmp_path: Path) -> None:
    path = tmp_path / "hashing.key"
    first = HashingKeys.load_or_create(path)
    second = first.rotate(path)
    third = second.rotate(path)
    assert HashingKeys.load(path) == third
    assert third.all[1:] == second.all
    assert second.all[1:] == first.all
    assert len({each.id for each in third.all}) == 3
    assert third.find(first.current.id) == first.current
    assert third.find("another") is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_no_key_needs_is_taken_out_but_never_the_current_one(tmp_path: Path) -> None:
    path = tmp_path / "hashing.key"
    keys = HashingKeys.load_or_create(path).rotate(path).rotate(path)
    kept = keys.keep(path, [keys.all[2].id])
    assert kept.all == (keys.all[0], keys.all[2])
    assert HashingKeys.load(path) == kept
    assert kept.keep(path, []).all == (keys.all[0],)


def test_there_is_a_bound_to_rotations(tmp_path: Path) -> None:
    path = tmp_path / "hashing.key"
    keys = HashingKeys.load_or_create(path)
    for _ in range(15):
        keys = keys.rotate(path)
    with pytest.raises(StartError, match=r"holds 16 hashing keys already.*--prune"):
        keys.rotate(path)
    assert HashingKeys.load(path) == keys


def test_a_missing_file_is_said_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "hashing.key"
    with pytest.raises(StartError, match=f"no hashing key at {path}.*MESH_HASHING_KEY_PATH"):
        HashingKeys.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"secret", b"0" * 63, b"\xff" * 64, (b"0" * 64 + b"\n") * 17]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hashing.key"
    path.write_bytes(content)
    with pytest.raises(StartError, match=str(path)):
        HashingKeys.load(path)


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="can't write a hashing key"):
        HashingKeys.load_or_create(tmp_path / "file" / "hashing.key")
