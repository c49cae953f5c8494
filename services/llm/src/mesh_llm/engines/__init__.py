"""What runs a model: vLLM in this process, or an upstream that speaks OpenAI's protocol."""
