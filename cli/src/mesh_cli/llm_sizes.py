"""Whether the llm is served on this machine, and how large."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from mesh_cli.failures import Failure

SETTING: Final = "MESH_LLM"
"""The user's word: `on`, `off`, or `auto` for where memory allows."""
ENGINE: Final = "MESH_LLM_ENGINE"
KV_CACHE: Final = "MESH_LLM_KV_CACHE_BYTES"
CONTEXT: Final = "MESH_LLM_MAX_CONTEXT_TOKENS"

GIB: Final = 1024**3
ENGINE_BYTES: Final = 9 * GIB // 2
"""What vLLM and the default model take at their start, less keys and values."""
ROOMY_BYTES: Final = 12 * GIB
"""A machine with so much serves the llm with the service's own defaults."""
LEAST_BYTES: Final = 7 * GIB
"""What a machine sold as one of 8 GiB has. With less there is no room beside other processes."""
SMALL_KV_CACHE_BYTES: Final = GIB
SMALL_CONTEXT_TOKENS: Final = 4096
_DEFAULT_KV_CACHE_BYTES: Final = 2 * GIB

Choice = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Llm:
    """What is decided for the llm of a mesh.

    Attributes:
        served: whether it is.
        why: in a line, why it is not, or how large it is.
        variables: what its process is told beside what the user says.
        needs_bytes: memory that must be free when it starts.
        remote: whether it stands before an upstream, and needs no engine.
    """

    served: bool
    why: str
    variables: Mapping[str, str] = field(default_factory=dict)
    needs_bytes: int = 0
    remote: bool = False


def decide(environment: Mapping[str, str], machine_bytes: int) -> Llm:
    """Decides by what the user says and by the memory there is.

    Args:
        environment: the user's.
        machine_bytes: the memory of the machine.

    Raises:
        Failure: a value is not what its name wants.
    """
    choice = _choice(environment)
    if choice == "off":
        return Llm(False, f"is off ({SETTING}=off)")
    if environment.get(ENGINE) == "remote":
        return Llm(True, "stands before an upstream", remote=True)
    if choice == "auto" and machine_bytes < LEAST_BYTES:
        return Llm(
            False,
            f"is left out: a mesh with it takes {gib(LEAST_BYTES)} of memory and this machine has "
            f"{gib(machine_bytes)} ({SETTING}=on starts it all the same, {ENGINE}=remote puts it "
            "before an upstream)",
        )
    small = machine_bytes < ROOMY_BYTES
    chosen = {KV_CACHE: str(SMALL_KV_CACHE_BYTES), CONTEXT: str(SMALL_CONTEXT_TOKENS)}
    variables = {name: value for name, value in chosen.items() if small and name not in environment}
    kv_cache_bytes = _kv_cache_bytes({**environment, **variables})
    why = f"takes {gib(ENGINE_BYTES + kv_cache_bytes)} of memory"
    if variables:
        said = " and ".join(f"{name}={value}" for name, value in variables.items())
        why += f", the small form ({said}) since this machine has {gib(machine_bytes)}"
    return Llm(True, why, variables, ENGINE_BYTES + kv_cache_bytes)


def gib(size_bytes: int) -> str:
    """A size for people, such as `5.5 GiB`."""
    return f"{size_bytes / GIB:.1f} GiB"


def _choice(environment: Mapping[str, str]) -> Choice:
    text = environment.get(SETTING) or "auto"
    for choice in get_args(Choice):
        if text == choice:
            found: Choice = choice
            return found
    raise Failure(f"{SETTING}={text!r} is no choice: set auto, on or off")


def _kv_cache_bytes(environment: Mapping[str, str]) -> int:
    text = environment.get(KV_CACHE) or str(_DEFAULT_KV_CACHE_BYTES)
    if not (text.isascii() and text.isdigit()):
        raise Failure(f"{KV_CACHE}={text!r} is not a number of bytes")
    return int(text)
