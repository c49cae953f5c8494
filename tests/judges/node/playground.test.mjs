// The JavaScript that the playground writes, run as it stands.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { test } from "node:test";

import { apiKey, model, user } from "./mesh.mjs";

// Where the page is: the code that it writes asks the host that served it.
globalThis.document = { baseURI: `${process.env.MESH_URL}/playground` };
const { LANGUAGES } = await import("./snippets.js");
const [, write] = LANGUAGES.find(([language]) => language === "JavaScript");
const TRICKY = "It's \"naïve\" $HOME `x` ${y} \\n";

function run(request) {
  writeFileSync("snippet.mjs", write(request));
  const env = { ...process.env, MESH_API_KEY: apiKey };
  return execFileSync(process.execPath, ["snippet.mjs"], { env, encoding: "utf8" });
}

function chat(more) {
  const messages = user(`say ${TRICKY}`);
  return {
    path: "v1/chat/completions",
    method: "chat.completions.create",
    body: { model, messages, ...more },
  };
}

test("a chat that streams", () => {
  assert.equal(run(chat({ stream: true, stream_options: { include_usage: true } })), TRICKY);
});

test("a chat that comes whole", () => {
  assert.match(run(chat({})), /finish_reason: 'stop'/);
});

test("a completion that streams", () => {
  const body = { model, prompt: `say ${TRICKY}`, stream: true };
  assert.equal(run({ path: "v1/completions", method: "completions.create", body }), TRICKY);
});

test("a request without a client", () => {
  const { path, body } = chat({});
  assert.match(run({ path, body }), /object: 'chat.completion'/);
});
