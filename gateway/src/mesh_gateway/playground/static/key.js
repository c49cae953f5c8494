// The caller's key, in memory alone, and what the mesh says of itself and to it.

import { element, part } from "./dom.js";
import { FieldFault } from "./failures.js";

const SENDABLE = /^[\x21-\x7e]*$/;

/** The key that the page was given. */
export class Key {
  #field = document.getElementById("key");

  constructor() {
    // Some browsers give a field of a page that is loaded again what was in it.
    this.#field.value = "";
    const reveal = part(document, "reveal");
    reveal.addEventListener("click", () => {
      const shown = this.#field.type === "password";
      this.#field.type = shown ? "text" : "password";
      reveal.setAttribute("aria-pressed", String(shown));
    });
    this.#field.addEventListener("change", () => this.#listModels());
  }

  /** The key as a header has it; empty where there is none. */
  header() {
    const key = this.#field.value.trim();
    if (!SENDABLE.test(key)) {
      throw new FieldFault(this.#field, "The key has characters that no key has: paste it again.");
    }
    return key;
  }

  /** Fills in the names of the models that the key may ask. */
  async #listModels() {
    const say = (words) => (part(document, "key-state").textContent = words);
    let response;
    try {
      const headers = { authorization: `Bearer ${this.header()}` };
      response = await fetch("v1/models", { headers, cache: "no-store", credentials: "omit" });
    } catch (error) {
      say(error.title ? error.message : "The gateway can't be reached.");
      return;
    }
    if (!response.ok) {
      say(
        response.status === 401
          ? "The gateway does not accept this key."
          : `The models can't be listed (${response.status}).`,
      );
      return;
    }
    const models = (await response.json()).data;
    const names = models.map((each) => each.id).join(", ");
    say(`The key is accepted; models: ${names || "none"}.`);
    suggest(models);
  }
}

function suggest(models) {
  const options = models.map((each) => element("option", { value: each.id }));
  document.getElementById("models").replaceChildren(...options);
  for (const field of document.querySelectorAll('input[list="models"]')) {
    if (field.value) continue;
    const service = field.closest("[data-service]").dataset.models;
    field.value = models.find((each) => each.owned_by === service)?.id ?? "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/** Shows which services can be asked. */
export async function showBackends() {
  const list = part(document, "backends");
  try {
    const response = await fetch("ready", { cache: "no-store", credentials: "omit" });
    const { backends } = await response.json();
    const items = Object.entries(backends).map(([name, state]) =>
      element("li", { "data-state": state }, `${name}: ${state}`),
    );
    list.replaceChildren(...items);
  } catch {
    list.replaceChildren(element("li", { "data-state": "unavailable" }, "The gateway can't be reached"));
  }
}
