// The page: a key, a panel for each service, and their tabs.

import { Chat } from "./chat.js";
import { Completion } from "./completion.js";
import { Key, showBackends } from "./key.js";
import { Panel } from "./panel.js";
import { Classify, Embeddings, Tensors } from "./predictions.js";
import { makeTabs } from "./tabs.js";

const SERVICES = {
  chat: Chat,
  completions: Completion,
  embeddings: Embeddings,
  classify: Classify,
  tensors: Tensors,
};
const BACKENDS_EVERY_MS = 10_000;

const key = new Key();
const panels = [...document.querySelectorAll("[data-service]")];
for (const root of panels) new Panel(root, SERVICES[root.dataset.service], key);

makeTabs(document.getElementById("services"), (tab) => {
  for (const root of panels) root.hidden = root.id !== tab.getAttribute("aria-controls");
});

showBackends();
setInterval(() => document.hidden || showBackends(), BACKENDS_EVERY_MS);
