// A text that a model continues.

import { element } from "./dom.js";
import { defined, number, text } from "./forms.js";

/** A completion, whole or as a stream. */
export class Completion {
  constructor(form, place) {
    this.form = form;
    this.place = place;
  }

  request() {
    const streamed = this.form.elements.stream.checked;
    return {
      path: "v1/completions",
      method: "completions.create",
      body: defined({
        model: text(this.form, "model").trim(),
        prompt: text(this.form, "prompt"),
        max_tokens: number(this.form, "max_tokens"),
        temperature: number(this.form, "temperature"),
        stream: streamed ? true : undefined,
        stream_options: streamed ? { include_usage: true } : undefined,
      }),
    };
  }

  begin({ body }) {
    this.streamed = Boolean(body.stream);
    this.usage = this.data = undefined;
    this.written = element("mark");
    this.place.replaceChildren(element("p", { class: "completed" }, body.prompt, this.written));
  }

  take(data) {
    this.data = data;
    this.usage = data.usage ?? this.usage;
    const more = data.choices[0]?.text ?? "";
    this.written.append(more);
    return more !== "";
  }
}
