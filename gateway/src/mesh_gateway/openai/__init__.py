"""The routes that are compatible with OpenAI's API, before the llm and the embedder."""
