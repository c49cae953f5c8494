// One request: sent, timed, and followed until its answer has ended.

import { ofEvent, ofNetwork, ofResponse } from "./failures.js";
import { events } from "./sse.js";

const MOST_RAW_CHARACTERS = 200_000;
// After so long without a pause the page would feel stuck.
const WITHOUT_PAUSE_MS = 30;

/**
 * What became of a request. Times are milliseconds since it was sent.
 * @typedef {object} Outcome
 * @property {number} [status] of HTTP
 * @property {Headers} [headers] of the response
 * @property {number} [firstMs] until the first part of the answer
 * @property {number} [totalMs] until its end
 * @property {string} raw the body as it came, or its beginning
 */

/**
 * Sends a request.
 * @param {{path: string, body: object, key: string, signal: AbortSignal}} request
 * @param {{take: (data: object) => boolean}} answer takes the body, or each event of a stream, and
 *   says whether it holds a part of the answer
 * @param {Outcome} outcome filled while the answer comes, so that a failure leaves what was seen
 */
export async function call(request, answer, outcome) {
  const began = performance.now();
  const passed = () => performance.now() - began;
  try {
    const response = await opened(request);
    outcome.status = response.status;
    outcome.headers = response.headers;
    const type = response.headers.get("content-type") ?? "";
    const take = (data) => {
      if (answer.take(data)) outcome.firstMs ??= passed();
    };
    if (response.ok && type.startsWith("text/event-stream")) {
      await follow(response, take, outcome);
    } else {
      await readWhole(response, take, outcome);
    }
  } catch (error) {
    // What fetch throws where the connection ends, at its beginning or later.
    throw error instanceof TypeError ? ofNetwork() : error;
  } finally {
    outcome.totalMs = passed();
  }
}

function opened({ path, body, key, signal }) {
  const headers = { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  return fetch(path, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    signal,
    cache: "no-store",
    credentials: "omit",
  });
}

async function follow(response, take, outcome) {
  let complete = false;
  let paused = performance.now();
  for await (const data of events(response.body)) {
    if (outcome.raw.length < MOST_RAW_CHARACTERS) outcome.raw += `data: ${data}\n\n`;
    // Read to the end all the same, so that the connection can be used again.
    complete ||= data.startsWith("[DONE]");
    if (complete) continue;
    const event = JSON.parse(data);
    if (event.error) throw ofEvent(event);
    take(event);
    if (performance.now() - paused > WITHOUT_PAUSE_MS) {
      // Whoever writes faster than the page can show it waits: nothing is read meanwhile.
      await new Promise((resume) => setTimeout(resume));
      paused = performance.now();
    }
  }
  if (complete) return;
  throw ofEvent({ error: { message: "The stream ended without saying that it was complete." } });
}

async function readWhole(response, take, outcome) {
  const text = await response.text();
  outcome.raw = indented(text).slice(0, MOST_RAW_CHARACTERS);
  if (!response.ok) throw ofResponse(response, text);
  take(JSON.parse(text));
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
