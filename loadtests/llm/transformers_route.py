"""What one writes first: a route that calls `generate`. Told are the model's folder and a port."""

import sys
import threading
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from transformers import AutoModelForCausalLM, AutoTokenizer

app = FastAPI()
tokenizer: Any = AutoTokenizer.from_pretrained(sys.argv[1])
model: Any = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
# One at a time: several at once share the same cores, and each would take longer.
turn = threading.Lock()


@app.post("/generate")
def generate(body: dict[str, Any]) -> dict[str, Any]:
    """Answers a conversation."""
    prompt = tokenizer.apply_chat_template(
        body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    tokens = prompt["input_ids"].shape[1]
    with turn, torch.inference_mode():
        output = model.generate(
            **prompt,
            max_new_tokens=body["max_tokens"],
            min_new_tokens=body["max_tokens"],
            do_sample=False,
        )
    made = output[0, tokens:]
    usage = {"prompt_tokens": tokens, "completion_tokens": len(made)}
    return {"content": tokenizer.decode(made, skip_special_tokens=True), "usage": usage}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
