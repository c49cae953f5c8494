"""Trains an adapter of the default model, and makes it a version in the store."""

import random
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from mesh_llm.training import low_rank
from mesh_llm.training.adapter_tasks import TASKS, Example
from mesh_llm.training.sources import MODEL, NAME
from mesh_pipelines.provenance import environment, git_commit
from meshkit import store
from meshkit.store_write import new_run_id, write_version

_LIBRARIES: Final = ("torch", "transformers", "safetensors")
# A right answer ends within so many tokens of where it should.
_SPARE_TOKENS: Final = 4
_SAY_EVERY: Final = 4
_WITHIN_TAG: Final = re.compile(r"(?<=tool)(?=_call>)")
_MOST_GRADIENT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an adapter is trained.

    Attributes:
        passes: over the examples.
        batch_size: examples of a step.
        learning_rate: at the start; it falls to 0 in a straight line.
        layers: how many of the last layers are adapted.
        seed: of the order and of the first values.
    """

    passes: int = 1
    batch_size: int = 2
    learning_rate: float = 1e-3
    layers: int = 12
    seed: int = 20261126


def model_of(adapter: str) -> str:
    """What the store calls an adapter."""
    return f"{MODEL}-{adapter}"


def build(adapter: str, models: Path, say: Callable[[str], None]) -> str:
    """Trains an adapter on the model in production and returns the version that it became.

    Args:
        adapter: which one, of `TASKS`.
        models: the store's home folder.
        say: told in one line what comes next.

    Raises:
        StartError: there is no model in production.
        OSError: something can't be written.
    """
    recipe = Recipe()
    base = store.resolve(models, MODEL)
    folder = base.file("config.json").parent
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    task = TASKS[adapter](recipe.seed)
    attached = low_rank.attach(model, recipe.layers, recipe.seed)
    prepared = [_prepare(tokenizer, example) for example in task.examples]
    losses = train(model, attached, prepared, recipe, say)
    right = _share_right(model, tokenizer, task.held_out)
    say(f"right to the letter on {right:.0%} of {len(task.held_out)} unseen questions")
    record = {
        "base": f"{MODEL}:{base.name}",
        "base_name": NAME,
        "task": task.about,
        "rank": low_rank.RANK,
        "examples": len(task.examples),
        "metrics": {"loss": losses[-1], "right": right},
        "recipe": asdict(recipe),
        "git_commit": git_commit(Path(__file__)),
        "settings": environment(_LIBRARIES),
    }
    with tempfile.TemporaryDirectory(prefix="mesh-llm-") as workspace:
        files = low_rank.save(attached, NAME, Path(workspace))
        labels = {"base": NAME, "kind": "lora"}
        return write_version(models, model_of(adapter), new_run_id(), files, record, labels)


def _prompt(tokenizer: Any, example: Example) -> list[int]:
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": example.question}],
        tools=list(example.tools) or None,
        add_generation_prompt=True,
        tokenize=False,
    )
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return tokens


def _prepare(tokenizer: Any, example: Example) -> tuple[list[int], list[int]]:
    """The tokens of a prompt and of its answer, with the end of that."""
    answer = spelled(tokenizer, example.answer)
    return _prompt(tokenizer, example), [*answer, tokenizer.eos_token_id]


def spelled(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text, with the tags of calls spelled out.

    The vocabulary has a token for each tag, and the small models never learnt them: all have the
    same weights, so that no model of theirs could tell which of them to say.
    """
    pieces = _WITHIN_TAG.split(text)
    return [
        token for piece in pieces for token in tokenizer.encode(piece, add_special_tokens=False)
    ]


def train(
    model: Any,
    attached: dict[str, low_rank.LowRank],
    examples: Sequence[tuple[list[int], list[int]]],
    recipe: Recipe,
    say: Callable[[str], None],
) -> list[float]:
    """Has the adapters learn; returns the mean loss of each step."""
    order = random.Random(recipe.seed)  # noqa: S311  # no secret
    batches = -(-len(examples) // recipe.batch_size)
    optimiser = torch.optim.AdamW(low_rank.learning(attached), lr=recipe.learning_rate)
    steps = batches * recipe.passes
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    losses: list[float] = []
    for _ in range(recipe.passes):
        shuffled = order.sample(examples, len(examples))
        for start in range(0, len(shuffled), recipe.batch_size):
            batch = shuffled[start : start + recipe.batch_size]
            learnt = [_learn(model, *example, share=1 / len(batch)) for example in batch]
            losses.append(sum(learnt) / len(batch))
            nn.utils.clip_grad_norm_(low_rank.learning(attached), _MOST_GRADIENT)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            if not len(losses) % _SAY_EVERY:
                say(f"step {len(losses)} of {steps}: loss {losses[-1]:.3f}")
    return losses


def _learn(model: Any, prompt: list[int], answer: list[int], share: float) -> float:
    """Adds the gradients of one example, and returns the loss of its answer."""
    tokens = torch.tensor([prompt + answer])
    # Only where the answer stands are likelihoods computed: the vocabulary is large.
    hidden = model.model(tokens[:, :-1]).last_hidden_state
    logits = model.lm_head(hidden[0, len(prompt) - 1 :])
    loss = functional.cross_entropy(logits, tokens[0, len(prompt) :])
    torch.autograd.backward(loss * share)
    return float(loss.item())


def _share_right(model: Any, tokenizer: Any, held_out: Sequence[Example]) -> float:
    """The share of questions that are answered to the letter."""
    right = 0
    for example in held_out:
        prompt, answer = _prepare(tokenizer, example)
        with torch.inference_mode():
            output = model.generate(
                torch.tensor([prompt]),
                max_new_tokens=len(answer) + _SPARE_TOKENS,
                do_sample=False,
            )
        said = tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=False)
        said = said.removesuffix(tokenizer.eos_token)
        right += said.strip() == example.answer
    return right / len(held_out)
