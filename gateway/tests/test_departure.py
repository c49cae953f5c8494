"""What becomes of a request whose caller has left."""

from mesh_gateway.departure import Departure


def test_it_is_told_once() -> None:
    told: list[int] = []
    departure = Departure.of({})
    departure.then(lambda: told.append(1))
    assert told == []
    departure.happen()
    departure.happen()
    assert told == [1]


def test_who_asks_late_is_told_at_once() -> None:
    told: list[int] = []
    departure = Departure()
    departure.happen()
    departure.then(lambda: told.append(1))
    departure.happen()
    assert told == [1]


def test_who_asks_no_more_is_not_told() -> None:
    departure = Departure()
    departure.then(lambda: 1 / 0)
    departure.then(None)
    departure.happen()


def test_a_request_has_one() -> None:
    scope: dict[str, object] = {}
    assert Departure.of(scope) is Departure.of(scope)
