// The playground's reader of server-sent events, fed with every cut that a network may make.

import assert from "node:assert/strict";
import { test } from "node:test";

import { all } from "./mesh.mjs";
import { events } from "./sse.js";

const bytes = (text) => new TextEncoder().encode(text);

function body(...parts) {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
}

const CASES = {
  "one event": ["data: a\n\n", ["a"]],
  "several events": ["data: a\n\ndata: b\n\n", ["a", "b"]],
  "each kind of line end": ["data: a\r\n\r\ndata: b\r\rdata: c\n\n", ["a", "b", "c"]],
  "data of several lines": ["data: a\ndata: b\n\n", ["a\nb"]],
  "no space, or two": ["data:a\n\ndata:  b\n\n", ["a", " b"]],
  "comments and other fields": [": hm\nevent: x\nid: 1\ndata: a\n\n", ["a"]],
  "letters of several bytes": ["data: 日本語 🧑‍🚀\n\n", ["日本語 🧑‍🚀"]],
  "a separator of lines that ends none": ["data: a\u2028b\n\n", ["a\u2028b"]],
  "an event that was cut off": ["data: a\n\ndata: b", ["a"]],
  nothing: ["", []],
};

for (const [name, [text, expected]] of Object.entries(CASES)) {
  test(`${name}, whole`, async () => {
    assert.deepEqual(await all(events(body(bytes(text)))), expected);
  });

  test(`${name}, cut in two anywhere`, async () => {
    const whole = bytes(text);
    for (let at = 0; at <= whole.length; at += 1) {
      const parts = [whole.slice(0, at), whole.slice(at)];
      assert.deepEqual(await all(events(body(...parts))), expected, `cut at ${at}`);
    }
  });

  test(`${name}, byte by byte`, async () => {
    const single = [...bytes(text)].map((byte) => Uint8Array.of(byte));
    assert.deepEqual(await all(events(body(...single))), expected);
  });
}
