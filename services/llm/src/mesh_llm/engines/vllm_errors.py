"""vLLM's errors as ours."""

from typing import Final

from meshkit.errors import Internal, InvalidArgument, MeshError, Unavailable

# A caller that meets an engine on its way may come back after so long.
_RETRY_S: Final = 5.0


def translated(error: Exception) -> MeshError | None:
    """An error of vLLM as ours; None where it is none that a caller could make sense of."""
    from vllm.exceptions import VLLMClientError  # noqa: PLC0415  # as in `vllm_launch`
    from vllm.v1.engine.exceptions import (  # noqa: PLC0415
        EngineDeadError,
        EngineGenerateError,
    )

    if isinstance(error, EngineDeadError):
        return Unavailable(
            "the engine died under this request and is started anew; send it again",
            reason="ENGINE_DIED",
            retry_delay_s=_RETRY_S,
        )
    if isinstance(error, VLLMClientError):
        return refused(error)
    if isinstance(error, EngineGenerateError):
        return Internal("the engine failed on this request", reason="MODEL_FAILED")
    return None


def refused(error: Exception) -> InvalidArgument:
    """What the engine says of a request that it does not take."""
    return InvalidArgument(f"the engine refuses this: {str(error)[:500]}; mend it")


def loading() -> Unavailable:
    """There is no engine yet."""
    return Unavailable(
        "the model is being loaded; try again in a moment",
        reason="MODEL_LOADING",
        retry_delay_s=_RETRY_S,
    )
