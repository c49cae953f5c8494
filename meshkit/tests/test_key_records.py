"""Records of keys, and how they lie in Redis."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import Internal, InvalidArgument
from meshkit.key_records import Grant, KeyRecord
from meshkit.rates import Rate
from meshkit.scopes import SCOPES

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
GRANT = Grant("checkout", "shop", frozenset({"classifier"}))
RECORD = KeyRecord("abc", bytes(32), "0123", GRANT, NOW)
moments = st.none() | st.datetimes(timezones=st.just(UTC))
grants = st.builds(
    Grant,
    name=st.text(min_size=1),
    tenant=st.text(min_size=1),
    scopes=st.frozensets(st.sampled_from(sorted(SCOPES)), min_size=1),
    rate=st.none()
    | st.builds(Rate, st.integers(1, 10**6), st.sampled_from("smhd"), st.integers(1, 10**6)),
    max_concurrent=st.none() | st.integers(1, 10**6),
    expires_at=moments,
)


@given(
    st.builds(
        KeyRecord,
        id=st.just("abc"),
        hash=st.binary(min_size=32, max_size=32),
        hashing_key=st.just("0123"),
        grant=grants,
        created_at=st.datetimes(timezones=st.just(UTC)),
        revoked_at=moments,
        replaces=st.none() | st.just("old"),
    )
)
def test_a_record_survives_its_fields(record: KeyRecord) -> None:
    assert KeyRecord.from_fields(record.id, record.to_fields()) == record


def test_the_hash_is_in_no_repr() -> None:
    assert "hash=" not in repr(RECORD)


@pytest.mark.parametrize("field", ["hash", "created_at", "scopes"])
def test_a_damaged_record_says_so(field: str) -> None:
    fields = RECORD.to_fields()
    del fields[field]
    with pytest.raises(Internal, match="abc in the key store is damaged"):
        KeyRecord.from_fields("abc", fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hash", "no hash"), ("rate", "fast"), ("max_concurrent", "many"), ("expires_at", "soon")],
)
def test_a_value_that_can_not_be_read_is_damage(field: str, value: str) -> None:
    with pytest.raises(Internal):
        KeyRecord.from_fields("abc", {**RECORD.to_fields(), field: value})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "two\nlines"}),
        ("tenant", {"tenant": "x" * 129}),
        ("scopes", {"scopes": frozenset()}),
        ("scopes", {"scopes": frozenset({"classifier", "clasifier"})}),
        ("max_concurrent", {"max_concurrent": 0}),
        ("expires_at", {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}),
    ],
)
def test_what_makes_no_sense_is_refused(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        replace(GRANT, **values).check()
    assert caught.value.violations[0].field == field


def test_what_makes_sense_passes() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    replace(GRANT, max_concurrent=3, expires_at=later, rate=Rate(1, "s", 1)).check()
