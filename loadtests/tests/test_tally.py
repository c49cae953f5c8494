import json

import pytest

from mesh_load.tally import Tally


def test_only_the_seconds_asked_for_count() -> None:
    tally = Tally()
    for second in range(10, 20):
        tally.record(second, "classify", 5.0, None)
        tally.record(second, "classify", 1.0, "HTTP 503 OVERLOADED")
    found = tally.between(12, 15)["classify"]
    assert found.count == 6
    assert found.good.count == 3
    assert found.good.percentile_ms(0.5) == pytest.approx(5.0, rel=0.01)
    assert found.errors == {"HTTP 503 OVERLOADED": 3}


def test_what_is_given_away_arrives_and_is_gone() -> None:
    worker, master = Tally(), Tally()
    worker.record(1, "classify", 5.0, None)
    worker.record(1, "classify", 5.0, "timeout")
    master.record(1, "classify", 7.0, None)
    master.add(json.loads(json.dumps(worker.take())))
    found = master.between(1, 2)["classify"]
    assert (found.good.count, found.errors) == (2, {"timeout": 1})
    assert worker.take() == []
