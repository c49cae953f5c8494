// One service of the page: its form, the request that it makes, and the answer.

import { call } from "./call.js";
import { element, pairs, part } from "./dom.js";
import { FieldFault } from "./failures.js";
import { figures, lineage } from "./figures.js";
import { LANGUAGES } from "./snippets.js";
import { makeTabs } from "./tabs.js";

/** A panel of the page. */
export class Panel {
  #running;
  #request;
  #fault = "";
  #write = LANGUAGES[0][1];

  /**
   * @param {HTMLElement} root the panel
   * @param {new (form: HTMLFormElement, place: HTMLElement) => object} Service what it tries
   * @param {{header: () => string}} key what the caller gave
   */
  constructor(root, Service, key) {
    this.form = root.querySelector("form");
    root.append(document.getElementById("result").content.cloneNode(true));
    this.root = root;
    this.key = key;
    this.service = new Service(this.form, part(root, "answer"));
    this.#listen();
    this.#languages(root.dataset.service);
  }

  /** Takes the request from the form anew, or what is wrong with the form. */
  #refresh() {
    try {
      this.#request = this.service.request();
      this.#fault = "";
    } catch (error) {
      if (!(error instanceof FieldFault)) throw error;
      this.#fault = error.message;
    }
    this.#writeCode();
  }

  #writeCode() {
    this.#part("snippet").textContent = this.#fault || this.#write(this.#request);
    this.#part("copied").textContent = "";
  }

  #part(name) {
    return part(this.root, name);
  }

  #listen() {
    this.root.addEventListener("input", () => this.#refresh());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    this.#part("stop").addEventListener("click", () => this.#running?.abort());
    this.#part("copy").addEventListener("click", () => this.#copy());
  }

  #languages(name) {
    const list = this.#part("languages");
    const snippet = this.#part("snippet");
    snippet.id = `snippet-${name}`;
    for (const [language] of LANGUAGES) {
      const id = `${snippet.id}-${language}`;
      list.append(
        element("button", { type: "button", role: "tab", id, "aria-controls": snippet.id }, language),
      );
    }
    makeTabs(list, (tab) => {
      this.#write = LANGUAGES.find(([language]) => language === tab.textContent)[1];
      snippet.setAttribute("aria-labelledby", tab.id);
      if (this.#request || this.#fault) this.#writeCode();
    });
    this.#refresh();
  }

  async #send() {
    if (this.#running) return;
    this.#forget();
    const outcome = { raw: "" };
    try {
      const request = this.service.request();
      this.#request = request;
      this.#writeCode();
      const key = this.key.header();
      this.#busy(new AbortController());
      this.service.begin(request);
      await call({ ...request, key, signal: this.#running.signal }, this.service, outcome);
      this.service.end?.();
      this.#say(this.service.note ?? `Complete after ${(outcome.totalMs / 1000).toFixed(2)} s.`);
    } catch (error) {
      if (this.#running) this.service.failed?.();
      this.#tell(error);
    } finally {
      this.#busy(undefined);
      this.#show(outcome);
    }
  }

  #busy(running) {
    this.#running?.abort();
    this.#running = running;
    const busy = Boolean(running);
    this.root.classList.toggle("busy", busy);
    const send = this.form.querySelector('[type="submit"]');
    const stop = this.#part("stop");
    // Not `disabled`, and not hidden under the focus: who uses the keyboard would lose their place.
    send.setAttribute("aria-disabled", String(busy));
    if (!busy && document.activeElement === stop) send.focus();
    stop.hidden = !busy;
    if (!busy) return;
    this.#say("Waiting for the answer…");
    // On a phone the answer is under the form.
    this.root.querySelector(".result").scrollIntoView({ block: "nearest" });
  }

  #say(words) {
    this.#part("state").textContent = words;
  }

  #forget() {
    this.#part("failure").hidden = true;
    this.#part("failure").replaceChildren();
    for (const field of this.root.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  }

  #tell(error) {
    if (error.name === "AbortError") {
      this.#say("Stopped.");
      return;
    }
    // A fault of the page's own is told, too, and is in the browser's log.
    if (!error.title) console.error(error);
    if (error instanceof FieldFault) {
      error.field.setAttribute("aria-invalid", "true");
      error.field.closest("details")?.setAttribute("open", "");
      error.field.focus();
    }
    const notes = (error.notes ?? []).map((note) => element("li", {}, note));
    this.#part("failure").append(
      element("strong", {}, error.title ?? "A fault of this page"),
      element("p", {}, error.message),
      ...(notes.length ? [element("ul", {}, ...notes)] : []),
    );
    this.#part("failure").hidden = false;
    this.#say("It failed.");
  }

  #show(outcome) {
    if (outcome.totalMs === undefined) return;
    const { usage, streamed, data } = this.service;
    this.#part("figures").replaceChildren(...figures(outcome, usage, streamed));
    const id = outcome.headers?.get("x-request-id");
    const known = pairs([...lineage(outcome, data), ["request", id]]);
    this.#part("lineage").hidden = !known.length;
    this.#part("lineage-pairs").replaceChildren(...known);
    const headers = [...(outcome.headers ?? [])].map(([name, value]) => `${name}: ${value}`);
    this.#part("raw").textContent = `${headers.join("\n")}\n\n${outcome.raw}`;
    this.#part("wire").hidden = false;
  }

  async #copy() {
    const written = this.#part("snippet");
    // Only a secure context has a clipboard: elsewhere the text is selected, to be copied by hand.
    try {
      await navigator.clipboard.writeText(written.textContent);
      this.#part("copied").textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(written);
      written.focus();
      this.#part("copied").textContent = "Selected: copy it with Ctrl + C.";
    }
  }
}
