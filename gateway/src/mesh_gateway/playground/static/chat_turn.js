// One answer of a model in a conversation, as it grows.

import { element } from "./dom.js";

const EXAMPLE_RESULTS = { get_weather: '{"temperature_c": 19, "sky": "clear"}' };
const NAMES = { system: "System", user: "You", assistant: "Model", tool: "Result of the call" };

/** A message of a conversation as an element. */
export function shown(message) {
  const calls = (message.tool_calls ?? []).map((each) => new Call(each).element);
  return element(
    "li",
    { class: "message", "data-role": message.role },
    element("p", { class: "who" }, NAMES[message.role]),
    element("p", { class: "said" }, message.content ?? ""),
    ...calls,
  );
}

/** A tool call, as its fragments arrive. */
class Call {
  constructor({ id = "", function: { name = "", arguments: given = "" } = {} } = {}) {
    this.id = id;
    this.name = element("strong", {}, name);
    this.given = element("pre", { class: "code" }, given);
    this.element = element("div", { class: "call" }, element("p", {}, "Calls ", this.name), this.given);
  }

  take({ id, function: { name, arguments: more } = {} }) {
    this.id = id ?? this.id;
    this.name.append(name ?? "");
    this.given.append(more ?? "");
  }

  /** A field for the result of the call. */
  ask(number) {
    const field = `call-result-${number}`;
    this.result = element("textarea", { id: field, class: "code", rows: "2", spellcheck: "false" });
    this.result.value = EXAMPLE_RESULTS[this.name.textContent] ?? "";
    this.element.append(element("label", { for: field }, `Result of ${this.name.textContent}`), this.result);
  }

  /** As a message has it. */
  toJSON() {
    const { id, name, given } = this;
    return { id, type: "function", function: { name: name.textContent, arguments: given.textContent } };
  }
}

/** The answer of a model. */
export class ChatTurn {
  #said = element("p", { class: "said" });
  #thought = element("p", { class: "thought" });
  #calls = [];

  constructor() {
    this.element = shown({ role: "assistant" });
    this.element.querySelector(".said").replaceWith(this.#thought, this.#said);
  }

  /** Takes a chunk of a stream, or a whole answer; says whether it holds a part of the answer. */
  take(data) {
    this.data = data;
    this.usage = data.usage ?? this.usage;
    const choice = data.choices[0];
    const more = choice?.delta ?? choice?.message ?? {};
    const calls = more.tool_calls ?? [];
    this.#thought.append(more.reasoning_content ?? "");
    this.#said.append(more.content ?? more.refusal ?? "");
    calls.forEach((each, index) => this.#call(each.index ?? index).take(each));
    return Boolean(more.content || more.reasoning_content || calls.length);
  }

  #call(index) {
    if (!this.#calls[index]) {
      this.#calls[index] = new Call();
      this.element.append(this.#calls[index].element);
    }
    return this.#calls[index];
  }

  /** The answer as a message that a next request begins with. */
  message() {
    const content = this.#said.textContent || null;
    if (!this.#calls.length) return { role: "assistant", content: content ?? "" };
    return { role: "assistant", content, tool_calls: this.#calls.map((each) => each.toJSON()) };
  }

  /** Asks for the results of the calls that it made; says whether it made any. */
  offerResults() {
    if (!this.#calls.length) return false;
    const form = element("form", { novalidate: "", autocomplete: "off" });
    this.#calls.forEach((each, index) => each.ask(index));
    form.append(
      ...this.#calls.map((each) => each.element),
      element("button", { type: "submit", class: "main" }, "Send the result"),
    );
    this.element.append(form);
    return true;
  }

  /** The results as messages. */
  results() {
    return this.#calls.map((each) => ({
      role: "tool",
      tool_call_id: each.id,
      content: each.result.value,
    }));
  }
}
