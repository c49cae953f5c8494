// A conversation: what was said, what the model calls, and what it is told of those calls.

import { ChatTurn, shown } from "./chat_turn.js";
import { part } from "./dom.js";
import { defined, json, number, text } from "./forms.js";

const EXAMPLE_TOOLS = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city now.",
      parameters: {
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"],
      },
    },
  },
];

const EXAMPLE_SCHEMA = {
  type: "object",
  properties: { city: { type: "string" }, country: { type: "string" } },
  required: ["city", "country"],
  additionalProperties: false,
};

/** A conversation with a model. */
export class Chat {
  #messages = [];
  #asked = [];
  #turn;
  // The answer whose calls wait for their results.
  #waiting;

  constructor(form, place) {
    this.form = form;
    this.place = place;
    form.elements.tools.value = JSON.stringify(EXAMPLE_TOOLS, null, 2);
    form.elements.schema.value = JSON.stringify(EXAMPLE_SCHEMA, null, 2);
    // The form of a call stands in the answer: what it says is sent with this form.
    place.addEventListener("submit", (event) => {
      event.preventDefault();
      form.requestSubmit();
    });
    part(form, "new").addEventListener("click", () => this.#restart());
  }

  request() {
    const { form } = this;
    const streamed = form.elements.stream.checked;
    const offered = form.elements.tool_choice.value;
    return {
      path: "v1/chat/completions",
      method: "chat.completions.create",
      body: defined({
        model: text(form, "model").trim(),
        messages: [...this.#system(), ...this.#messages, ...this.#next()],
        max_completion_tokens: number(form, "max_completion_tokens"),
        temperature: number(form, "temperature"),
        tools: offered ? json(form, "tools") : undefined,
        tool_choice: offered && offered !== "auto" ? offered : undefined,
        response_format: this.#format(),
        stream: streamed ? true : undefined,
        stream_options: streamed ? { include_usage: true } : undefined,
      }),
    };
  }

  begin({ body }) {
    this.streamed = Boolean(body.stream);
    this.#asked = this.#next();
    this.#turn = new ChatTurn();
    this.#lay([...this.#messages, ...this.#asked].map(shown));
  }

  take(data) {
    return this.#turn.take(data);
  }

  /** Keeps what was said, once the answer is complete. */
  end() {
    this.#messages.push(...this.#asked, this.#turn.message());
    this.#waiting = this.#turn.offerResults() ? this.#turn : undefined;
    this.form.elements.user.value = "";
    this.#listen();
  }

  /** Shows again what can be sent once more. */
  failed() {
    if (this.#waiting) this.#lay([...this.#messages.slice(0, -1).map(shown), this.#waiting.element]);
  }

  get note() {
    return this.#waiting ? "The model calls a tool, and waits for the result." : undefined;
  }

  get usage() {
    return this.#turn?.usage;
  }

  get data() {
    return this.#turn?.data;
  }

  #lay(before) {
    const list = document.createElement("ol");
    list.append(...before, this.#turn.element);
    this.place.replaceChildren(list);
  }

  #system() {
    const said = this.form.elements.system.value;
    return said.trim() ? [{ role: "system", content: said }] : [];
  }

  /** What is said next: the results that the model waits for, or else the user's message. */
  #next() {
    if (this.#waiting) return this.#waiting.results();
    return [{ role: "user", content: text(this.form, "user") }];
  }

  #format() {
    const type = this.form.elements.format.value;
    if (type === "text") return undefined;
    if (type === "json_object") return { type };
    const schema = json(this.form, "schema");
    return { type, json_schema: { name: "answer", schema, strict: true } };
  }

  /** While the model waits for results, a message of the user has no place. */
  #listen() {
    const waits = Boolean(this.#waiting);
    this.form.elements.user.disabled = waits;
    part(this.form, "user-hint").textContent = waits
      ? "The model waits for the result of its call, beside the answer."
      : "Ctrl + Enter sends.";
  }

  #restart() {
    this.#messages = [];
    this.#turn = this.#waiting = undefined;
    this.place.replaceChildren();
    this.#listen();
    this.form.dispatchEvent(new Event("input", { bubbles: true }));
    this.form.elements.user.focus();
  }
}
