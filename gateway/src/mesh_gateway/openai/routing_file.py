"""The file that says what answers for which model's name (docs/openai.md has an example)."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from meshkit.errors import StartError

OWN: Final = "llm"
"""The deployment that the gateway has without a file."""
_MOST_STEPS: Final = 16
Name = Annotated[str, Field(min_length=1, max_length=128)]
Reference = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Deployment(_Strict):
    """A deployment of the llm beside the gateway's own.

    Attributes:
        target: where its replicas are, as in the gateway's settings.
    """

    target: Annotated[str, Field(min_length=1)]


class Rule(_Strict):
    """Where requests of some kind go; all of its conditions must hold.

    Attributes:
        to: what answers: another name, or `deployment/model`.
        tools: whether tools are offered.
        prompt_characters_over: the prompt has more characters than that.
    """

    to: Reference
    tools: bool | None = None
    prompt_characters_over: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if self.tools is None and self.prompt_characters_over is None:
            raise ValueError("has no condition; set tools or prompt_characters_over")
        return self


class Alias(_Strict):
    """What answers for a name: one of three ways.

    Attributes:
        to: the first that is there; each is another name, or `deployment/model`.
        split: one of them by weight, always the same for a key.
        rules: the first that holds.
        otherwise: where none of the rules holds.
    """

    to: tuple[Reference, ...] = ()
    split: Mapping[Reference, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    otherwise: Reference | None = None

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        if sum(bool(each) for each in (self.to, self.split, self.rules)) != 1:
            raise ValueError("must have one of to, split and rules, and not be empty")
        if bool(self.rules) != (self.otherwise is not None):
            raise ValueError("must have otherwise where it has rules, and only there")
        if self.split and not sum(self.split.values()) > 0:
            raise ValueError("has weights that are all 0")
        return self

    @property
    def references(self) -> Iterator[str]:
        """Everything that it refers to."""
        yield from self.to
        yield from self.split
        yield from (rule.to for rule in self.rules)
        if self.otherwise is not None:
            yield self.otherwise


class RoutingFile(_Strict):
    """What the file holds.

    Attributes:
        deployments: of the llm, by name, beside the gateway's own, which is called `llm`.
        models: what answers for a name that no deployment itself serves.
        embeddings: the embedder's own name of its model, by those that callers may use too.
    """

    deployments: Mapping[Name, Deployment] = Field(default_factory=dict)
    models: Mapping[Name, Alias] = Field(default_factory=dict)
    embeddings: Mapping[Name, Name] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _refers_to_what_there_is(self) -> Self:
        if OWN in self.deployments:
            raise ValueError(f"deployments.{OWN} is the gateway's own; call this one otherwise")
        for name in self.deployments:
            if "/" in name:
                raise ValueError(f"deployments.{name} has a slash in its name; leave it out")
        for name, alias in self.models.items():
            for reference in alias.references:
                if reference not in self.models and self.split(reference) is None:
                    raise ValueError(
                        f"models.{name} refers to {reference!r}, which is neither one of models "
                        "nor DEPLOYMENT/MODEL of one of deployments"
                    )
            self._check_end(name, ())
        return self

    def split(self, reference: str) -> tuple[str, str] | None:
        """Deployment and model that a reference names; None where it names something else."""
        deployment, slash, model = reference.partition("/")
        known = deployment == OWN or deployment in self.deployments
        return (deployment, model) if slash and model and known else None

    def _check_end(self, name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(f"models.{name} comes back to itself: {' -> '.join((*path, name))}")
        if len(path) > _MOST_STEPS:
            raise ValueError(f"models.{path[0]} goes over more than {_MOST_STEPS} names")
        for reference in self.models[name].references:
            if reference in self.models:
                self._check_end(reference, (*path, name))


def load(path: Path | None) -> RoutingFile:
    """Reads the file; without one, names go to the gateway's own deployment as they are.

    Raises:
        StartError: it can't be read, or does not make sense; has a line for each fault.
    """
    if path is None:
        return RoutingFile()
    try:
        return RoutingFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StartError(f"the routing file {path} can't be read: {error}") from None
    except ValidationError as error:
        faults = "\n".join(
            f"{path}: {'.'.join(str(step) for step in each['loc'])}: {each['msg']}"
            for each in error.errors()
        )
        raise StartError(faults) from None
