"""Prices, allowances, money, and shares of a machine."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit import money
from meshkit.allowance import NO_ALLOWANCE, Allowance, Budget, Period
from meshkit.compute_share import ComputeShare
from meshkit.errors import InvalidArgument, StartError
from meshkit.prices import Price, Prices
from meshkit.rates import Rate

amounts = st.decimals(min_value=0, max_value=999_999, places=6)
rates = st.builds(Rate, st.integers(1, 10**6), st.sampled_from("smhd"), st.integers(1, 10**6))
budgets = st.lists(
    st.builds(
        lambda amount, period, share: Budget(
            money.nanos(amount), period, money.nanos(round(amount * share, 6))
        ),
        amounts,
        st.sampled_from(Period),
        st.decimals(0, 1, places=2),
    ),
    max_size=2,
    unique_by=lambda budget: budget.period,
)
allowances = st.builds(
    Allowance,
    token_rate=st.none() | rates,
    model_token_rates=st.dictionaries(st.text(min_size=1), rates, max_size=3),
    budgets=budgets.map(tuple),
)


@given(allowances)
def test_an_allowance_survives_its_text(allowance: Allowance) -> None:
    assert Allowance.from_text(allowance.to_text()) == allowance


def test_what_a_command_line_says_is_read() -> None:
    read = Allowance.parse(["60000/m:9000", "llm=20000/m"], ["5/day", "100.50/month:90"])
    assert read == Allowance(
        Rate(60000, "m", 9000),
        {"llm": Rate(20000, "m", 20000)},
        (
            Budget(5 * 10**9, Period.DAY, 4 * 10**9),
            Budget(100_500_000_000, Period.MONTH, 90 * 10**9),
        ),
    )
    assert "60000 tokens a minute, 9000 at once, 20000 tokens a minute" in read.described
    assert read.described.endswith("5.00 a day, 100.50 a month")
    assert not Allowance.parse([], [])
    assert not NO_ALLOWANCE


@pytest.mark.parametrize(
    ("token_rates", "said", "why"),
    [
        (["x"], [], "--token-rate is 'x'"),
        (["1/m", "2/m"], [], "twice"),
        (["llm=1/m", "llm=2/m"], [], "twice"),
        (["a b=1/m"], [], "names no model"),
        ([], ["5"], "--budget is '5'"),
        ([], ["-5/day"], "should be a budget"),
        ([], ["5/week"], "should be a budget"),
        ([], ["9999999/day"], "should be a budget"),
        ([], ["5/day:6"], "warns after it ends"),
        ([], ["5/day", "6/day"], "names a period twice"),
    ],
)
def test_what_makes_no_sense_is_refused(token_rates: list[str], said: list[str], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        Allowance.parse(token_rates, said)


@given(amounts)
def test_money_is_shown_as_it_is(amount: Decimal) -> None:
    shown = money.described(money.nanos(amount))
    assert Decimal(shown) == amount
    assert len(shown.partition(".")[2]) >= 2


def test_a_request_costs_its_tokens() -> None:
    price = Price(Decimal("0.1"), Decimal("0.0375"), Decimal("0.4"))
    # 100 billionths a token of the prompt, 37.5 a cached one, 400 of the answer.
    assert price.nanos(10, 0, 5) == 10 * 100 + 5 * 400
    assert price.nanos(10, 2, 0) == 8 * 100 + 75
    assert price.nanos(2, 9, 0) == 75  # no more is cached than there is


@given(st.integers(0, 10**9), st.integers(0, 10**4), st.decimals(0, 100, places=4))
def test_what_an_amount_pays_for_costs_no_more(nanos: int, prompt: int, output: Decimal) -> None:
    price = Price(Decimal("0.1"), Decimal("0.1"), output)
    most = price.completion_for(nanos, prompt)
    if most is None:
        assert output == 0
    elif most:
        assert price.nanos(prompt, 0, most) <= nanos
    if most is not None and price.nanos(prompt, 0, 0) <= nanos:
        assert price.nanos(prompt, 0, most + 1) >= nanos


def test_the_prices_that_come_with_the_mesh() -> None:
    prices = Prices.load(None)
    assert prices.currency == "USD"
    assert prices.of("llm").nanos(10**6, 0, 0) == 20_000_000
    assert prices.of("nobody's") == prices.default
    assert prices.compute_nanos(2.0, 0.5) == 2 * 12_000 + 350_000


GOOD = Path(__file__).parents[1].joinpath("src", "meshkit", "prices.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('currency = "USD"', "currency = 3", "currency is missing"),
        ("[default]", "[defaults]", "defaults is nothing|default.* is missing"),
        ("cpu_second = 0.000012", "", "compute.cpu_second is None"),
        ("cpu_second = 0.000012", "cpu_second = -1", "compute.cpu_second is -1"),
        ("cpu_second = 0.000012", "cpu_second = nan", "compute.cpu_second is"),
        ("cpu_second = 0.000012", "cpu_second = true", "compute.cpu_second is True"),
        ("[models.llm]", "[models.llm]\nper_day = 3", "models.llm.per_day is unknown"),
        ("[default]", "[default", "can't read the prices"),
    ],
)
def test_prices_that_are_none_are_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = tmp_path / "prices.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(StartError, match=why) as refused:
        Prices.load(path)
    assert "MESH_PRICES_PATH" in str(refused.value)


def test_a_price_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"prices\.toml"):
        Prices.load(tmp_path / "prices.toml")


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60))
def test_shares_add_up_to_the_time_in_which_anything_ran(
    steps: list[tuple[int, bool]],
) -> None:
    now, busy = 0.0, 0.0
    share = ComputeShare(lambda: now)
    open_: list[float] = []
    parts = 0.0
    for gap, begins in steps:
        busy += gap if open_ else 0
        now += gap
        if begins:
            open_.append(share.begin())
        elif open_:
            parts += share.end(open_.pop(0))
    parts += sum(share.end(open_.pop()) for _ in list(open_))
    assert parts == pytest.approx(busy)


def test_two_that_run_at_once_have_half_each() -> None:
    now = 0.0
    share = ComputeShare(lambda: now)
    one = share.begin()
    now = 2.0
    other = share.begin()
    now = 4.0
    assert share.end(one) == pytest.approx(3.0)
    now = 5.0
    assert share.end(other) == pytest.approx(2.0)
