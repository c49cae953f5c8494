"""Starts vLLM's engine and ends its processes."""

import functools
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

from mesh_llm import reasoning
from mesh_llm.adapters import Adapter
from mesh_llm.engines import vllm_models
from mesh_llm.tool_parser import OPEN
from meshkit.errors import StartError

_log = logging.getLogger(__name__)
_HUB: Final = "hf://"
_END_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    Attributes:
        name: what requests call the model.
        source: a folder, or `hf://owner/name`.
        max_running: most choices that are generated at the same time.
        context_tokens: most tokens of prompt and answer; None for as many as the model knows and
            the cache has room for.
        kv_cache_bytes: for keys and values, without a GPU.
        gpu_memory_share: of a GPU's memory.
        threads: that the model keeps busy, without a GPU.
        prefix_caching: whether what several prompts begin with is computed once.
        cache_block_tokens: tokens of a block of keys and values, without a GPU.
        compiled: whether to compile the model.
        adapters: that are served beside it.
    """

    name: str
    source: str
    max_running: int
    context_tokens: int | None
    kv_cache_bytes: int
    gpu_memory_share: float
    threads: int
    prefix_caching: bool
    cache_block_tokens: int
    compiled: bool
    adapters: Sequence[Adapter] = ()


def launch(plan: Plan, sign_of_life: Callable[[], None]) -> Any:
    """Starts an engine: minutes of work in other processes, so call it beside the loop.

    Args:
        plan: what to start.
        sign_of_life: called on the loop after each step of the engine.

    Returns:
        The `AsyncLLM`.

    Raises:
        StartError: it can't be started.
    """
    _prepare_environment(plan)
    try:
        # Read by nobody who does without this engine: they take seconds and gigabytes.
        from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
        from vllm.platforms import current_platform  # noqa: PLC0415
        from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415
    except ImportError as error:
        raise StartError(
            f"vLLM can't be loaded ({error}); install the requirements of the engine, or set "
            "MESH_LLM_ENGINE=remote"
        ) from error
    more = vllm_models.engine_arguments(plan.adapters)
    on_cpu: dict[str, Any] = {}
    if not current_platform.is_cuda():
        on_cpu = {
            "kv_cache_memory_bytes": plan.kv_cache_bytes,
            "block_size": plan.cache_block_tokens,
        }
    try:
        arguments = AsyncEngineArgs(
            model=plan.source.removeprefix(_HUB),
            served_model_name=[plan.name],
            # -1 is as many as the cache has room for, up to what the model was trained for.
            max_model_len=plan.context_tokens or -1,
            max_num_seqs=plan.max_running,
            gpu_memory_utilization=plan.gpu_memory_share,
            enforce_eager=not plan.compiled,
            enable_prefix_caching=plan.prefix_caching,
            scheduling_policy="priority",
            **on_cpu,
            **more,
        )
        return AsyncLLM.from_engine_args(arguments, stat_loggers=[_heartbeat(sign_of_life)])
    except (OSError, RuntimeError, ValueError) as error:
        raise StartError(
            f"the engine can't be started with {plan.source}: {error}; its own log is above. A "
            "smaller kv_cache_bytes or max_context_tokens needs less memory"
        ) from error


def on_gpu() -> bool:
    """Whether engines of this process compute on a GPU; ask once one was started."""
    from vllm.platforms import current_platform  # noqa: PLC0415  # as in `launch`

    return bool(current_platform.is_cuda())


def fail_requests(engine: Any) -> None:
    """Ends the requests that wait for an engine's outputs, which will not come; on the loop.

    An engine that was killed may be shut down before it has noticed, and then nobody tells them.
    """
    from vllm.v1.engine.exceptions import EngineDeadError  # noqa: PLC0415  # as in `launch`

    engine.output_processor.propagate_error(EngineDeadError())


def end(engine: Any) -> None:
    """Ends an engine with its processes: asked first, then by force."""
    processes = _descendants(core_pids(engine))
    engine.shutdown(timeout=_END_S)
    # When it is forgotten it shuts down again, at worst when the interpreter has let go of vLLM.
    engine.shutdown = lambda timeout=None: None
    _kill(processes)
    _, alive = psutil.wait_procs(processes, timeout=_END_S)
    if alive:
        _log.error("processes of the engine do not end", extra={"pids": [p.pid for p in alive]})


def kill(engine: Any) -> None:
    """Ends the processes of an engine that may not answer."""
    _kill(_descendants(core_pids(engine)))


def kill_unborn() -> None:
    """Ends the processes of an engine that is being started, so that the start fails."""
    _kill(psutil.Process().children(recursive=True))


def core_pids(engine: Any) -> list[int]:
    """The engine's own processes; they have further ones."""
    manager = engine.engine_core.resources.engine_manager
    return [each.pid for each in manager.processes] if manager else []


def asks_for_tags(template: str | None) -> bool:
    """Whether a chat template tells the model to write calls as `ToolParser` reads them."""
    return template is not None and OPEN in template


def shows_thoughts(template: str | None) -> bool:
    """Whether a chat template knows of thoughts as `ThinkParser` reads them."""
    return template is not None and reasoning.CLOSE in template


def precision_of(engine: Any) -> str:
    """The numeric type of an engine's weights, or how they are quantised."""
    config = engine.model_config
    return str(config.quantization or str(config.dtype).removeprefix("torch."))


def _prepare_environment(plan: Plan) -> None:
    """Sets what vLLM reads when it is imported, here and in its own processes."""
    variables = {
        # A forked process would share the parent's threads' locks, and its pipes.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
        # This process's own logging takes what it logs; `parent_watch` sees to the others.
        "VLLM_CONFIGURE_LOGGING": "0",
        "TQDM_DISABLE": "1",
        # Threads bound to CPUs would share one with whatever else is bound or runs there.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(plan.threads),
        "VLLM_RPC_BASE_PATH": _sockets().name,
    }
    if not plan.source.startswith(_HUB):
        variables["HF_HUB_OFFLINE"] = "1"
    os.environ.update(variables)


@functools.cache
def _sockets() -> "tempfile.TemporaryDirectory[str]":
    """Where engines have their sockets: what one leaves that is killed goes with this process.

    Raises:
        StartError: the folder can't be made.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="mesh-llm-", ignore_cleanup_errors=True)
    except OSError as error:
        raise StartError(
            f"the engine has no place for its sockets ({error}); name a folder that can be written "
            "to in TMPDIR"
        ) from error


def _heartbeat(sign_of_life: Callable[[], None]) -> Any:
    """A logger of statistics, which vLLM tells of each step; here that alone is of use."""
    from vllm.v1.metrics.loggers import StatLoggerBase  # noqa: PLC0415  # as in `launch`

    class Heartbeat(StatLoggerBase):  # type: ignore[misc]  # vLLM is not always installed
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            pass

        def record(self, *_: Any, **__: Any) -> None:
            sign_of_life()

        def log_engine_initialized(self) -> None:
            pass

    return Heartbeat


def _descendants(pids: list[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
