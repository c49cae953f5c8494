"""Rates as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.errors import InvalidArgument
from meshkit.rates import Rate


@pytest.mark.parametrize(
    ("text", "rate", "interval_us"),
    [
        ("10/s", Rate(10, "s", 10), 100_000),
        ("600/m:50", Rate(600, "m", 50), 100_000),
        ("1/h", Rate(1, "h", 1), 3.6e9),
        ("86400/d:1", Rate(86400, "d", 1), 1e6),
        ("3/s", Rate(3, "s", 3), 1e6 / 3),
    ],
)
def test_a_rate_is_read_with_its_burst(text: str, rate: Rate, interval_us: float) -> None:
    assert Rate.parse(text, "rate") == rate
    assert rate.interval_us == pytest.approx(interval_us)


@given(st.integers(1, 10**9 - 1), st.sampled_from("smhd"), st.integers(1, 10**9 - 1))
def test_a_rate_reads_what_it_writes(requests: int, unit: str, burst: int) -> None:
    rate = Rate(requests, unit, burst)
    assert Rate.parse(str(rate), "rate") == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "0/s",
        "10/y",
        "-1/s",
        "1.5/s",
        "10/s:0",
        "10/s:",
        " 10/s",
        "1e3/s",
        "9" * 10 + "/s",
    ],
)
def test_what_is_no_rate_names_the_field(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Rate.parse(text, "MESH_GATEWAY_KEY_RATE")
    assert refused.value.violations[0].field == "MESH_GATEWAY_KEY_RATE"
    assert "10/s" in refused.value.message


def test_a_share_lets_at_least_one_through() -> None:
    assert Rate(600, "m", 50).share(3) == Rate(200, "m", 16)
    assert Rate(2, "m", 1).share(3) == Rate(1, "m", 1)


def test_a_rate_is_said_in_words() -> None:
    assert Rate(600, "m", 50).described == "600 requests a minute, 50 at once"
