// Embeddings by both clients; the official one asks for base64 unless it is told otherwise.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { cosineSimilarity, embedMany } from "ai";
import OpenAI from "openai";

import { apiKey, baseURL } from "./mesh.mjs";

const TEXTS = ["The ferry leaves at nine.", "The boat departs at 9 a.m.", "Basil needs sun."];
const client = new OpenAI({ baseURL, apiKey });

test("each text has a vector in their order", async () => {
  const { data, usage } = await client.embeddings.create({ model: "embedder", input: TEXTS });
  assert.deepEqual(data.map((each) => each.index), [0, 1, 2]);
  const [ferry, boat, basil] = data.map((each) => each.embedding);
  assert.ok(cosineSimilarity(ferry, boat) > cosineSimilarity(ferry, basil));
  assert.equal(usage.prompt_tokens, usage.total_tokens);
});

test("the AI SDK has the same vectors", async () => {
  const mesh = createOpenAICompatible({ name: "mesh", baseURL, apiKey });
  const { embeddings } = await embedMany({
    model: mesh.embeddingModel("embedder"),
    values: TEXTS,
  });
  const { data } = await client.embeddings.create({ model: "embedder", input: TEXTS });
  for (const [index, { embedding }] of data.entries()) {
    assert.ok(cosineSimilarity(embedding, embeddings[index]) > 0.9999);
  }
});
