// The official client of OpenAI's API under node.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

import { all, apiKey, baseURL, model, user } from "./mesh.mjs";

const client = new OpenAI({ baseURL, apiKey });
const City = z.object({ name: z.string(), people: z.number() });
const LISBON = { name: "Lisbon", people: 545796 };
const SAY_LISBON = 'say {"name": "Lisbon", "people": 545796}';
const TOOLS = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city.",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

test("an answer is whole", async () => {
  const answer = await client.chat.completions.create({ model, messages: user("say Hello you.") });
  assert.equal(answer.choices[0].message.content, "Hello you.");
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.deepEqual(
    [answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens],
    [3, 2, 5],
  );
  assert.match(answer._request_id, /^[0-9a-f]{32}$/);
});

test("a stream comes in chunks, with usage in the last", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages: user("say one two three"),
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = await all(stream);
  const said = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  assert.equal(said, "one two three");
  assert.equal(chunks.at(-1).usage.completion_tokens, 3);
  assert.deepEqual(chunks.at(-1).choices, []);
});

test("the stream helper accumulates and tells", async () => {
  const deltas = [];
  const stream = client.chat.completions
    .stream({ model, messages: user("say naïve 日本語 🧑‍🚀"), stream_options: { include_usage: true } })
    .on("content", (delta) => deltas.push(delta));
  assert.equal(await stream.finalContent(), "naïve 日本語 🧑‍🚀");
  assert.equal(deltas.join(""), "naïve 日本語 🧑‍🚀");
  assert.equal((await stream.totalUsage()).completion_tokens, 3);
});

test("calls in a stream are accumulated", async () => {
  const script = 'call get_weather {"city": "Lisbon"}\ncall get_weather {"city": "Porto"}';
  const stream = client.chat.completions.stream({ model, messages: user(script), tools: TOOLS });
  const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
  assert.equal(finish_reason, "tool_calls");
  assert.deepEqual(
    message.tool_calls.map((call) => JSON.parse(call.function.arguments).city),
    ["Lisbon", "Porto"],
  );
});

for (const stream of [false, true]) {
  test(`the tool runner runs tools, ${stream ? "streaming" : "whole"}`, async () => {
    const asked = [];
    const runner = client.chat.completions.runTools({
      model,
      stream,
      messages: user('call get_weather {"city": "Lisbon"}'),
      tools: [
        zodFunction({
          name: "get_weather",
          description: "The weather in a city.",
          parameters: z.object({ city: z.string() }),
          function: ({ city }) => {
            asked.push(city);
            return "19 degrees";
          },
        }),
      ],
    });
    assert.equal(await runner.finalContent(), "the tool said 19 degrees");
    assert.deepEqual(asked, ["Lisbon"]);
  });
}

test("an answer is parsed into a schema", async () => {
  const answer = await client.chat.completions.parse({
    model,
    messages: user(SAY_LISBON),
    response_format: zodResponseFormat(City, "city"),
  });
  assert.deepEqual(answer.choices[0].message.parsed, LISBON);
});

test("a stream is parsed into a schema", async () => {
  const stream = client.chat.completions.stream({
    model,
    messages: user(SAY_LISBON),
    response_format: zodResponseFormat(City, "city"),
  });
  assert.deepEqual((await stream.finalChatCompletion()).choices[0].message.parsed, LISBON);
});

test("a completion continues a text", async () => {
  const answer = await client.completions.create({ model, prompt: "say one two" });
  assert.equal(answer.choices[0].text, "one two");
  const stream = await client.completions.create({ model, prompt: "say one two", stream: true });
  const chunks = await all(stream);
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), "one two");
});

test("models are listed, and found one by one", async () => {
  const names = (await all(await client.models.list())).map((each) => each.id);
  assert.ok(names.includes(model));
  assert.equal((await client.models.retrieve(model)).id, model);
  await assert.rejects(client.models.retrieve("weather"), OpenAI.NotFoundError);
});

test("errors have the client's classes", async () => {
  const ask = (options) =>
    client.chat.completions.create({ model, messages: user("say Hi."), ...options });
  await assert.rejects(ask({ model: "weather" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
  await assert.rejects(ask({ temperature: 9 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    assert.equal(error.type, "invalid_request_error");
    return true;
  });
  const stranger = new OpenAI({ baseURL, apiKey: "sk-nonsense" });
  await assert.rejects(
    stranger.chat.completions.create({ model, messages: user("say Hi.") }),
    OpenAI.AuthenticationError,
  );
});

test("an error amid a stream is thrown where it came", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages: user("say one two\nfail Unavailable"),
    stream: true,
  });
  let said = "";
  await assert.rejects(async () => {
    for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? "";
  }, OpenAI.APIError);
  assert.equal(said.trim(), "one two");
});

test("what may pass is tried again by the client itself", async () => {
  const statuses = [];
  const counting = new OpenAI({
    baseURL,
    apiKey,
    maxRetries: 1,
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      statuses.push(response.status);
      return response;
    },
  });
  await assert.rejects(
    counting.chat.completions.create({ model, messages: user("fail Unavailable") }),
    OpenAI.InternalServerError,
  );
  assert.deepEqual(statuses, [503, 503]);
});

test("a stream can be left", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages: user("for ever"),
    stream: true,
  });
  let chunks = 0;
  for await (const _ of stream) {
    chunks += 1;
    if (chunks === 3) break;
  }
  assert.ok(stream.controller.signal.aborted);
});
