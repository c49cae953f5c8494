"""Chat completions through the gateway, against LiteLLM's proxy; whole, and streams of 50 deltas.

Each before something that answers at once: the gateway before a scripted llm over gRPC, LiteLLM
before a constant HTTP upstream. Keys, and limits of requests and tokens in Redis, are on in both;
each is one process. Needs `wrk`, and LiteLLM in an environment of its own:

    python3 -m venv .mesh/litellm && .mesh/litellm/bin/pip install 'litellm[proxy]==1.106.2'
    python3 loadtests/openai/door.py [--rounds N] [--seconds S] [--litellm .mesh/litellm]
"""

import argparse
import functools
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.scene import answers
from lab.load import Load, Request, closed
from lab.processes import Process, free_ports, listens, process, redis_server
from lab.rounds import in_turn, ratio, tell
from openai.scene import PATH, WORDS, body, scene

OURS, THEIRS = "gateway", "litellm"
HERE: Final = Path(__file__).parent
_KEY: Final = "sk-load"
# LiteLLM keeps keys with limits in a database; without one it asks a function.
_CUSTOM_AUTH: Final = f"""
from litellm.proxy._types import UserAPIKeyAuth

async def check(request, api_key):
    if api_key != "{_KEY}":
        raise PermissionError("no such key")
    limits = {{"rpm_limit": 100_000_000, "tpm_limit": 10_000_000_000}}
    return UserAPIKeyAuth(api_key=api_key, user_id="load", **limits)
"""


@contextmanager
def litellm(home: Path) -> Iterator[tuple[Request, Process]]:
    """LiteLLM's proxy before a constant upstream."""
    program = home / "bin" / "litellm"
    if not program.exists():
        raise SystemExit(f"{program} is not there; this file says how to install it")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        redis_port, upstream_port, port = free_ports(3)
        redis = stack.enter_context(
            process([redis_server(), "--port", str(redis_port), "--save", ""])
        )
        redis.until(lambda: listens(redis_port), "Redis answers")
        upstream = stack.enter_context(
            process([sys.executable, HERE / "upstream.py", str(upstream_port), str(WORDS)])
        )
        upstream.until(lambda: listens(upstream_port), "the upstream answers")
        config = folder / "config.yaml"
        config.write_text(json.dumps(_config(redis_port, upstream_port)))  # JSON is YAML
        (folder / "litellm_key.py").write_text(_CUSTOM_AUTH)
        here = ("--host", "127.0.0.1", "--port", str(port))
        proxy = stack.enter_context(
            process(
                [program, "--config", config, *here, "--num_workers", "1"],
                {
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "LITELLM_LOG": "ERROR",
                    "LITELLM_MODE": "PRODUCTION",
                    "DISABLE_SCHEMA_UPDATE": "True",
                    "NO_DOCS": "True",
                },
            )
        )
        headers = {"authorization": f"Bearer {_KEY}", "content-type": "application/json"}
        request = Request(f"http://127.0.0.1:{port}{PATH}", body("hello"), headers)
        proxy.until(lambda: answers(request), "LiteLLM answers")
        yield request, proxy


def _config(redis_port: int, upstream_port: int) -> dict[str, object]:
    redis = {"host": "127.0.0.1", "port": redis_port}
    return {
        "model_list": [
            {
                "model_name": "llm",
                "litellm_params": {
                    "model": "openai/constant",
                    "api_base": f"http://127.0.0.1:{upstream_port}/v1",
                    "api_key": "sk-upstream",
                },
            }
        ],
        "litellm_settings": {
            "telemetry": False,
            "drop_params": True,
            "cache": True,
            # The limits' own; no answer is kept.
            "cache_params": {"type": "redis", **redis, "supported_call_types": []},
        },
        "router_settings": {f"redis_{name}": value for name, value in redis.items()},
        "general_settings": {"master_key": "sk-master", "custom_auth": "litellm_key.check"},
    }


def main() -> None:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description="The door against LiteLLM's proxy.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--litellm", type=Path, default=Path(".mesh/litellm"))
    chosen = parser.parse_args()
    with scene() as ours, litellm(chosen.litellm) as (theirs, proxy):

        def measure(what: str, script: str, *, stream: bool) -> None:
            tell(f"\n{what}, 32 connections")
            request = ours.request(script, stream=stream)
            other = Request(theirs.url, body("hello", stream=stream), theirs.headers)
            contenders = {OURS: (request, ours.gateway), THEIRS: (other, proxy)}
            found: dict[str, list[Load]] = in_turn(
                {
                    name: functools.partial(closed, *each, connections=32, seconds=chosen.seconds)
                    for name, each in contenders.items()
                },
                chosen.rounds,
            )
            for of in ("rate", "cpu_us"):
                figures = ([getattr(each, of) for each in found[name]] for name in (OURS, THEIRS))
                tell(f"{what}: {of}, gateway to LiteLLM: {ratio(*figures)}")

        # As long as the words are, and constant as the upstream's answer is.
        measure("whole answers", f"bytes {7 * WORDS}", stream=False)
        measure(f"streams of {WORDS} deltas", f"words {WORDS}", stream=True)


if __name__ == "__main__":
    main()
