"""OpenAI's Responses API, without what it stores: every request has the whole conversation."""
