"""The models that an engine has: its own, and one for each adapter."""

from collections.abc import Sequence
from typing import Any, Final

from mesh_llm.adapters import Adapter
from meshkit.errors import StartError

# Ranks that vLLM makes room for.
_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def engine_arguments(adapters: Sequence[Adapter]) -> dict[str, Any]:
    """What vLLM is started with so that it has room for adapters; nothing where there are none.

    Raises:
        StartError: one is of a rank that there is no room for.
    """
    if not adapters:
        return {}
    largest = max(adapters, key=lambda adapter: adapter.rank)
    fitting = next((rank for rank in _RANKS if rank >= largest.rank), None)
    if fitting is None:
        raise StartError(
            f"the adapter {largest.name} has the rank {largest.rank} and the engine takes "
            f"{_RANKS[-1]} at most; train one of a lower rank"
        )
    arguments: dict[str, Any] = {
        "enable_lora": True,
        # All at once: requests of different adapters share a batch. And one place more, which stays
        # empty: without a GPU vLLM takes the last place's weights for the base's own requests in
        # such a batch, since it looks them up under -1.
        "max_loras": len(adapters) + 1,
        "max_lora_rank": fitting,
    }
    modules = [adapter.modules for adapter in adapters]
    named = [each for each in modules if each is not None]
    if len(named) == len(modules):
        # A layer that none adapts would cost as much as one that all do.
        arguments["lora_target_modules"] = sorted(frozenset().union(*named))
    return arguments


async def load_adapters(engine: Any, adapters: Sequence[Adapter]) -> dict[str, Any]:
    """Has an engine read its adapters, and returns what requests name them by.

    Raises:
        StartError: one does not fit the model.
    """
    from vllm.lora.request import LoRARequest  # noqa: PLC0415  # as in `vllm_launch`

    requests = {
        adapter.name: LoRARequest(adapter.name, number, adapter.folder)
        for number, adapter in enumerate(adapters, 1)
    }
    for adapter in adapters:
        try:
            await engine.add_lora(requests[adapter.name])
        except Exception as error:
            raise StartError(
                f"the adapter {adapter.name} of {adapter.folder} can't be loaded: {error}; it must "
                "have been trained on the model that is served"
            ) from error
    return requests
