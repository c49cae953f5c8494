"""The LLM service: chat and completion as typed streams."""
