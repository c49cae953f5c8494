// The services whose answers come whole: their requests, and how an answer is shown.

import { element } from "./dom.js";
import { defined, json, lines, number, text } from "./forms.js";

const SHOWN_NUMBERS = 6;

const EXAMPLE_TENSORS = {
  inputs: [
    {
      name: "text",
      shape: [2],
      datatype: "BYTES",
      data: ["A quiet film that stays with you.", "The plot goes nowhere, slowly."],
    },
  ],
};

/** Shows an answer that comes whole. */
class Whole {
  streamed = false;

  constructor(form, place) {
    this.form = form;
    this.place = place;
  }

  begin({ body }) {
    this.place.replaceChildren();
    this.data = undefined;
    this.asked = body;
  }

  take(data) {
    this.data = data;
    this.place.replaceChildren(this.shown(data, this.asked));
    return true;
  }

  get usage() {
    return this.data?.usage;
  }
}

/** Sentiment of texts. */
export class Classify extends Whole {
  request() {
    const texts = lines(this.form, "texts");
    const allowed = this.form.elements.allow_degraded.checked;
    return { path: "v1/classify", body: defined({ texts, allow_degraded: allowed ? undefined : false }) };
  }

  shown({ results }, { texts }) {
    return element("ol", {}, ...results.map((each, index) => this.#one(each, texts[index])));
  }

  #one(result, said) {
    const quote = element("blockquote", {}, said);
    if (result.status !== "ok") {
      return element("li", { class: "text-result" }, quote, `No answer: ${result.error.message}`);
    }
    const notes = [`valence ${result.valence.toFixed(2)}`];
    if (result.truncated) notes.push("only its beginning was read");
    if (result.degraded) notes.push(`a fallback answered: ${result.degraded.reason}`);
    return element(
      "li",
      { class: "text-result" },
      quote,
      element(
        "p",
        {},
        element("span", { class: "label", "data-label": result.label }, result.label),
        ` · ${notes.join(" · ")}`,
      ),
      bars(result.probabilities),
    );
  }
}

function bars(probabilities) {
  const rows = Object.entries(probabilities).flatMap(([label, value]) => [
    element("span", {}, label),
    element("meter", { min: "0", max: "1", value: String(value), "aria-label": label }),
    element("span", { class: "value" }, `${(value * 100).toFixed(1)} %`),
  ]);
  return element("div", { class: "bars" }, ...rows);
}

/** Vectors of texts. */
export class Embeddings extends Whole {
  request() {
    return {
      path: "v1/embeddings",
      method: "embeddings.create",
      body: defined({
        model: text(this.form, "model").trim(),
        input: lines(this.form, "input"),
        dimensions: number(this.form, "dimensions"),
      }),
    };
  }

  shown({ data }, { input }) {
    const vectors = data.map((each) => each.embedding);
    const items = vectors.map((vector, index) =>
      element(
        "li",
        { class: "text-result" },
        element("blockquote", {}, `${index + 1}. ${input[index]}`),
        element("code", {}, `${vector.length} numbers: ${beginning(vector)}`),
      ),
    );
    const list = element("ol", {}, ...items);
    return vectors.length < 2 ? list : element("div", { class: "result" }, list, likeness(vectors));
  }
}

function beginning(vector) {
  const shown = vector.slice(0, SHOWN_NUMBERS).map((each) => each.toFixed(4));
  return `[${shown.join(", ")}${vector.length > SHOWN_NUMBERS ? ", …" : ""}]`;
}

function likeness(vectors) {
  const numbers = vectors.map((_, index) => element("th", { scope: "col" }, `${index + 1}`));
  const rows = vectors.map((one, index) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, `${index + 1}`),
      ...vectors.map((other) => element("td", {}, cosine(one, other).toFixed(3))),
    ),
  );
  const table = element(
    "table",
    {},
    element("caption", {}, "How alike they are (cosine)"),
    element("thead", {}, element("tr", {}, element("td"), ...numbers)),
    element("tbody", {}, ...rows),
  );
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Likeness" }, table);
}

function cosine(one, other) {
  const product = (a, b) => a.reduce((sum, each, index) => sum + each * b[index], 0);
  return product(one, other) / Math.sqrt(product(one, one) * product(other, other));
}

/** Tensors of the Open Inference Protocol. */
export class Tensors extends Whole {
  constructor(form, place) {
    super(form, place);
    form.elements.body.value = JSON.stringify(EXAMPLE_TENSORS, null, 2);
  }

  request() {
    const model = encodeURIComponent(text(this.form, "model").trim());
    return { path: `v2/models/${model}/infer`, body: json(this.form, "body") };
  }

  shown({ outputs }) {
    const rows = outputs.map(({ name, datatype, shape, data }) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, name),
        element("td", {}, `${datatype} [${shape.join(", ")}]`),
        element("td", {}, (data ?? []).join(", ")),
      ),
    );
    const heads = ["Output", "Type", "Elements"].map((each) => element("th", { scope: "col" }, each));
    const table = element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...rows),
    );
    return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Outputs" }, table);
  }
}
