"""What rounding the weights does to the text that a model predicts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mesh_llm.training.evaluation import quantise
from mesh_llm.training.evaluation.figures import Text
from mesh_llm.training.evaluation.quantise import Form

WINDOW: Final = 256
"""Tokens that are predicted in one go, each from all before it."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was predicted: the loss of each token, and the likeliest in its place."""

    losses: torch.Tensor
    likeliest: torch.Tensor


def measure(
    folder: Path, text: str, forms: Sequence[Form], windows: int, say: Callable[[str], None]
) -> list[Text]:
    """Measures the weights as they are, then each form of them.

    Args:
        folder: of the model.
        text: to predict.
        forms: how to round.
        windows: most pieces of WINDOW tokens to predict.
        say: told in one line what comes next.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    pieces = _pieces(AutoTokenizer.from_pretrained(folder), text, windows)
    say(f"predicting {pieces.numel()} tokens with the weights as they are")
    plain = _predict(model, pieces)
    found = [_text(plain, plain)]
    originals = {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if quantise.is_rounded(name)
    }
    for form in forms:
        say(f"predicting them with {form.name}")
        with _rounded(model, originals, form):
            found.append(_text(_predict(model, pieces), plain))
    return found


@contextmanager
def _rounded(model: Any, originals: Mapping[str, torch.Tensor], form: Form) -> Iterator[None]:
    """A model with the weights and the inputs of its layers rounded, inside."""

    def round_inputs(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (quantise.rounded_inputs(inputs[0], form.input_bits or 0), *inputs[1:])

    hooks = []
    for name, original in originals.items():
        layer = model.get_submodule(name.rpartition(".")[0])
        layer.weight.data = quantise.rounded(original, form).as_float(original.dtype)
        if form.input_bits:
            hooks.append(layer.register_forward_pre_hook(round_inputs))
    yield
    for hook in hooks:
        hook.remove()


def _pieces(tokenizer: Any, text: str, windows: int) -> torch.Tensor:
    tokens = tokenizer(text).input_ids[: windows * (WINDOW + 1)]
    whole = len(tokens) // (WINDOW + 1)
    return torch.tensor(tokens[: whole * (WINDOW + 1)]).view(whole, WINDOW + 1)


@torch.inference_mode()
def _predict(model: Any, pieces: torch.Tensor) -> _Seen:
    losses, likeliest = [], []
    for piece in pieces:
        logits = model(piece[None, :-1]).logits[0].float()
        losses.append(torch.nn.functional.cross_entropy(logits, piece[1:], reduction="none"))
        likeliest.append(logits.argmax(dim=-1))
    return _Seen(torch.cat(losses), torch.cat(likeliest))


def _text(seen: _Seen, plain: _Seen) -> Text:
    return Text(
        tokens=len(seen.losses),
        perplexity=exp(seen.losses.mean().item()),
        same_likeliest=(seen.likeliest == plain.likeliest).float().mean().item(),
    )
