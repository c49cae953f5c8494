"""The budget for repetitions."""

from meshkit.retries import RetryBudget


def test_a_tenth_of_many_calls_may_be_repeated() -> None:
    budget = RetryBudget()
    repeated = 0
    for _ in range(10_000):
        budget.deposit()
        repeated += budget.spend()
    assert 1000 <= repeated <= 1010


def test_a_few_may_be_repeated_at_once() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.deposit()
    assert sum(budget.spend() for _ in range(100)) == 10
