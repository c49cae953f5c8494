"""What tokens and seconds of computation cost, from `prices.toml`."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from importlib import resources
from pathlib import Path
from typing import Any, Final, Self

from meshkit.errors import StartError
from meshkit.money import NANOS

_MILLION: Final = 10**6
_TOKENS: Final = ("input_per_million", "cached_input_per_million", "output_per_million")
_SECONDS: Final = ("cpu_second", "gpu_second")
_MOST: Final = Decimal(10**6)


@dataclass(frozen=True, slots=True)
class Price:
    """What tokens of a model cost.

    Attributes:
        input: a million tokens of a prompt, in units of the currency.
        cached_input: a million tokens of a prompt that needed no computation.
        output: a million tokens that were generated.
    """

    input: Decimal
    cached_input: Decimal
    output: Decimal

    def nanos(self, prompt: int, cached_prompt: int, completion: int) -> int:
        """What a request costs, in billionths of the currency.

        Args:
            prompt: tokens of the prompt, the cached ones among them.
            cached_prompt: those that needed no computation.
            completion: tokens that were generated.
        """
        cached = min(cached_prompt, prompt)
        cost = (
            (prompt - cached) * self.input + cached * self.cached_input + completion * self.output
        )
        return int((cost * (NANOS // _MILLION)).to_integral_value(ROUND_HALF_EVEN))

    def completion_for(self, nanos: int, prompt: int) -> int | None:
        """Most tokens that can be generated for an amount; None for any number.

        Args:
            nanos: the amount, in billionths of the currency.
            prompt: tokens of the prompt, which are paid first.
        """
        if not self.output:
            return None
        left = nanos - prompt * self.input * (NANOS // _MILLION)
        return max(0, int(left / (self.output * (NANOS // _MILLION))))


@dataclass(frozen=True, slots=True)
class Prices:
    """A table of prices.

    Attributes:
        currency: what they are in, such as `USD`.
        default: of a model that is not in the table.
        models: by the names of the models.
        cpu_second: a second of one CPU.
        gpu_second: a second of one GPU.
    """

    currency: str
    default: Price
    models: Mapping[str, Price]
    cpu_second: Decimal
    gpu_second: Decimal

    def of(self, model: str) -> Price:
        """The prices of a model."""
        return self.models.get(model, self.default)

    def compute_nanos(self, cpu_s: float, gpu_s: float) -> int:
        """What seconds of computation cost, in billionths of the currency."""
        cost = Decimal(cpu_s) * self.cpu_second + Decimal(gpu_s) * self.gpu_second
        return int((cost * NANOS).to_integral_value(ROUND_HALF_EVEN))

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Reads a table; without a path the one that comes with this package.

        Raises:
            StartError: it can't be read, or has what no table has; names the line's key.
        """
        try:
            if path is None:
                text = resources.files("meshkit").joinpath("prices.toml").read_text("utf-8")
            else:
                text = path.read_text("utf-8")
            content = tomllib.loads(text, parse_float=Decimal)
        except (OSError, ValueError) as error:
            raise StartError(
                f"can't read the prices of {path} (MESH_PRICES_PATH): {error}"
            ) from None
        faults = list(_faults(content))
        if faults:
            raise StartError(f"{path} (MESH_PRICES_PATH): {faults[0]}")
        return cls(
            currency=content["currency"],
            default=_price(content["default"]),
            models={name: _price(each) for name, each in content.get("models", {}).items()},
            cpu_second=Decimal(content["compute"]["cpu_second"]),
            gpu_second=Decimal(content["compute"]["gpu_second"]),
        )


def _price(section: Mapping[str, Any]) -> Price:
    return Price(*(Decimal(section[name]) for name in _TOKENS))


def _faults(content: Mapping[str, Any]) -> Iterator[str]:
    known = {"currency", "default", "models", "compute"}
    yield from (
        f"{name} is nothing that prices have; take it out" for name in content.keys() - known
    )
    if not isinstance(content.get("currency"), str):
        yield 'currency is missing or no text; write currency = "USD"'
    yield from _section_faults(content.get("default"), "default", _TOKENS)
    yield from _section_faults(content.get("compute"), "compute", _SECONDS)
    models = content.get("models", {})
    if not isinstance(models, dict):
        yield "models is no table; write [models.NAME]"
        return
    for name, section in models.items():
        yield from _section_faults(section, f"models.{name}", _TOKENS)


def _section_faults(section: object, name: str, keys: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(section, dict):
        yield f"[{name}] is missing; it has {', '.join(keys)}"
        return
    yield from (
        f"{name}.{key} is unknown; there are {', '.join(keys)}" for key in section.keys() - {*keys}
    )
    for key in keys:
        value = section.get(key)
        if not _is_price(value):
            yield f"{name}.{key} is {value!r} and should be a number from 0 to {_MOST}"


def _is_price(value: object) -> bool:
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        return False
    amount = Decimal(value)
    return amount.is_finite() and 0 <= amount <= _MOST
