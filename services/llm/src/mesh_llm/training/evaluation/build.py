"""Measures everything that an evaluation says; takes tens of minutes."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh_llm.training.evaluation import asks, cases, quantise, service, speed, text_effect
from mesh_llm.training.evaluation.figures import Calls, Evaluation, Forms, Speed, Text, Weights
from mesh_llm.training.evaluation.quantise import INT4, INT8, Form
from mesh_llm.training.evaluation.service import NotServed
from mesh_pipelines.fetch import fetch
from mesh_pipelines.machine import processor
from mesh_pipelines.sources import load_sources
from meshkit.store import Version

FORMS: Final = (INT8, INT4)
_TEXTS: Final = "rated-texts"
_AT_A_TIME: Final = 16
_PLAIN: Final = "bf16"


@dataclass(frozen=True, slots=True)
class Wish:
    """How much to measure.

    Attributes:
        engine_python: of the environment with the engine.
        calls: cases of calls to ask, the first ones.
        windows: pieces of text to predict.
        compiled: whether to compile the model, as the service does unless told otherwise.
    """

    engine_python: Path
    calls: int
    windows: int
    compiled: bool


@dataclass(frozen=True, slots=True)
class _Served:
    """What was found of a form where it is served."""

    calls: Calls
    speed: Speed
    forms: Forms | None = None


def build(version: Version, wish: Wish, say: Callable[[str], None]) -> Evaluation:
    """Measures a version.

    Args:
        version: of the model.
        wish: how much.
        say: told in one line what comes next.

    Raises:
        PipelineError: the texts can't be had, or the model is not served as it is.
    """
    folder = version.file("config.json").parent
    (archive,) = fetch(load_sources()[_TEXTS]).values()
    texts = text_effect.measure(folder, cases.editorials(archive), FORMS, wish.windows, say)
    say("serving the weights as they are")
    plain = _served(folder, wish, say, with_forms=True)
    assert plain.forms is not None  # noqa: S101  # it was asked for them
    first = Weights(
        name=_PLAIN,
        how="the weights as the version has them",
        file_bytes=version.file("model.safetensors").stat().st_size,
        text=texts[0],
        calls=plain.calls,
        speed=plain.speed,
    )
    others = [
        _weights(folder, form, text, wish, say) for form, text in zip(FORMS, texts[1:], strict=True)
    ]
    return Evaluation(
        version=version.name,
        base=str(version.record["base"]),
        quantised_before=str(version.record["quantised_before"]),
        processor=processor(),
        compiled=wish.compiled,
        forms=plain.forms,
        weights=[first, *others],
    )


def _weights(
    folder: Path, form: Form, text: Text, wish: Wish, say: Callable[[str], None]
) -> Weights:
    with tempfile.TemporaryDirectory(prefix="mesh-llm-") as workspace:
        target = Path(workspace)
        say(f"writing the weights in {form.name}")
        size = quantise.write(folder, target, form)
        say(f"serving {form.name}")
        try:
            served = _served(target, wish, say)
        except NotServed as error:
            say(f"{form.name} is not served here: {error}")
            return Weights(form.name, form.how, size, text, None, None, str(error))
    return Weights(form.name, form.how, size, text, served.calls, served.speed)


def _served(
    folder: Path, wish: Wish, say: Callable[[str], None], *, with_forms: bool = False
) -> _Served:
    asked = cases.tool_cases()[: wish.calls]
    with service.serving(wish.engine_python, folder, _AT_A_TIME, compiled=wish.compiled) as target:
        say(f"asking for {len(asked)} calls")
        calls = asyncio.run(asks.calls(target, asked, _AT_A_TIME))
        forms = None
        if with_forms:
            say("asking for JSON")
            forms = asyncio.run(asks.forms(target, cases.schema_cases(), _AT_A_TIME))
        say("measuring the speed")
        return _Served(calls, asyncio.run(speed.measure(target)), forms)
