"""Adapters learn, and their files are what PEFT and engines read."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from mesh_llm.training import adapters, low_rank
from mesh_llm.training.adapter_tasks import SIGNATURE, TASKS, Task
from mesh_llm.training.adapters import Recipe

TOKENS = torch.tensor([[1, 2, 3, 4]])
EXAMPLES = [([1, 2, 3], [7, 8, 9]), ([4, 5], [9, 8])]


@pytest.fixture
def model() -> Any:
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.5,  # so that it has something to say
    )
    made: Any = Qwen2ForCausalLM(config)
    return made.eval()


def test_at_first_an_adapter_changes_nothing(model: Any) -> None:
    before = model(TOKENS).logits
    attached = low_rank.attach(model, layers=2, seed=1)
    assert min(attached) == "model.layers.1.self_attn.k_proj"
    assert len(attached) == 2 * len(low_rank.PROJECTIONS)
    assert torch.equal(model(TOKENS).logits, before)


def test_only_the_adapters_learn_and_the_same_seed_learns_the_same(
    model: Any, tmp_path: Path
) -> None:
    frozen = model.model.layers[2].self_attn.q_proj.weight.clone()
    attached = low_rank.attach(model, layers=2, seed=1)
    recipe = Recipe(passes=30, batch_size=2, learning_rate=2e-2, layers=2)
    losses = adapters.train(model, attached, EXAMPLES, recipe, lambda _: None)
    assert losses[-1] < losses[0] / 2
    assert torch.equal(model.model.layers[2].self_attn.q_proj.linear.weight, frozen)

    files = low_rank.save(attached, "a-base", tmp_path)
    tensors = load_file(files["adapter_model.safetensors"])
    name = "base_model.model.model.layers.2.self_attn.q_proj"
    assert tensors[f"{name}.lora_A.weight"].shape == (low_rank.RANK, 16)
    assert tensors[f"{name}.lora_B.weight"].shape == (16, low_rank.RANK)
    assert tensors[f"{name}.lora_B.weight"].abs().max() > 0
    config = json.loads(files["adapter_config.json"].read_bytes())
    assert (config["peft_type"], config["r"]) == ("LORA", low_rank.RANK)
    assert config["layers_to_transform"] == [1, 2]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_the_same_each_time_and_holds_questions_back(name: str) -> None:
    task, again = TASKS[name](5), TASKS[name](5)
    assert task == again != TASKS[name](6)
    seen = {example.question for example in task.examples}
    assert all(example.question not in seen for example in task.held_out)


def test_tags_are_spelled_out() -> None:
    class Tokenizer:
        """A token for each character, and one for a whole tag."""

        def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
            assert not add_special_tokens
            return [
                ord(each)
                for each in text.replace("<tool_call>", "\0").replace("</tool_call>", "\1")
            ]

    text = "a <tool_call>b</tool_call>"
    assert adapters.spelled(Tokenizer(), text) == [ord(each) for each in text]


def test_letters_are_signed() -> None:
    task = TASKS["courteous"](1)
    begin, end = SIGNATURE
    for example in (*task.examples, *task.held_out):
        assert example.answer.startswith(begin)
        assert example.answer.endswith(end)


def test_calls_are_of_the_tools_that_are_offered() -> None:
    task: Task = TASKS["tool-caller"](1)
    counts = set()
    for example in (*task.examples, *task.held_out):
        offered = {tool["function"]["name"] for tool in example.tools}
        calls = [json.loads(line) for line in example.answer.splitlines() if line[0] == "{"]
        counts.add(len(calls))
        assert {call["name"] for call in calls} <= offered
        for call in calls:
            place = next(iter(call["arguments"].values()))
            assert place in example.question
    assert counts == {0, 1, 2, 3}
