"""Load that comes at its own pace, whether or not it is answered."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab import h2load
from lab.load import Load, Request, percentile
from lab.processes import Served

OK: Final = 200
_MOST_CONNECTIONS: Final = 1024
# A connection's turn comes again after so long, and one that is answered by then is never late.
_TURN_S: Final = 0.5
_NEAR: Final = 0.05


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        status: of HTTP; 0 where none came.
        waited_ms: from when the request was sent.
    """

    status: int
    waited_ms: float


@dataclass(frozen=True)
class Attack:
    """What came back.

    Attributes:
        answers: to each request, but those of the lead.
        seconds: from the first of these requests to the last answer.
        cpu_s: CPU seconds of the server for these.
        maker_s: the same of who made the load.
    """

    answers: Sequence[Answer]
    seconds: float
    cpu_s: float
    maker_s: float

    def waited_ms(self, *statuses: int) -> list[float]:
        """How long each answer of these statuses took."""
        return [each.waited_ms for each in self.answers if each.status in statuses]

    @property
    def load(self) -> Load:
        """The same as figures of the good answers."""
        good = self.waited_ms(OK)
        statuses: Counter[int | str] = Counter(
            each.status for each in self.answers if each.status != OK
        )
        return Load(
            rate=len(good) / self.seconds,
            p50_ms=percentile(good, 0.5),
            p99_ms=percentile(good, 0.99),
            cpu_us=self.cpu_s / max(1, len(self.answers)) * 1e6,
            maker_us=self.maker_s / max(1, len(self.answers)) * 1e6,
            statuses=statuses,
        )

    def __str__(self) -> str:
        return str(self.load)


def attack(
    request: Request, server: Served, *, rate: float, seconds: float, lead_s: float = 0.0
) -> Attack:
    """Asks so many times a second, with h2load.

    Each of many connections has its turn, one after the other, so that nobody waits for an answer
    before the next request is sent: not until an answer takes longer than a whole turn.

    Args:
        request: that is sent.
        server: what answers.
        rate: requests a second.
        seconds: how long, after the lead.
        lead_s: seconds whose answers are not kept: a thousand connections are made in the first.
    """
    connections = max(1, min(_MOST_CONNECTIONS, round(rate * _TURN_S)))
    begun, each_ms = spread(rate)
    found = h2load.run(
        request.url,
        request.body,
        request.headers,
        server,
        *("--h1", f"--clients={connections}", f"--rps={rate / connections:.4f}"),
        *(
            f"--requests={round(rate * (lead_s + seconds))}",
            f"--rate={begun}",
            f"--rate-period={each_ms}ms",
        ),
    )
    began_us = min(row.sent_us for row in found.rows) + lead_s * 1e6
    kept = [row for row in found.rows if row.sent_us >= began_us]
    ended_us = max(row.sent_us + row.waited_us for row in kept)
    share = len(kept) / len(found.rows)
    return Attack(
        [Answer(max(0, row.status), row.waited_us / 1000) for row in kept],
        seconds=(ended_us - began_us) / 1e6,
        cpu_s=found.cpu_s * share,
        maker_s=found.maker_s * share,
    )


def spread(rate: float) -> tuple[int, int]:
    """How many connections begin every so many milliseconds, so that they begin as they will ask.

    h2load has each of them ask at its own pace from when it began, so those that begin together
    ask together ever after: they are as few as come near the rate.
    """
    choices = ((max(1, round(rate * each_ms / 1000)), each_ms) for each_ms in itertools.count(1))
    return next(
        (begun, each_ms)
        for begun, each_ms in choices
        if abs(begun / each_ms * 1000 - rate) <= _NEAR * rate
    )
