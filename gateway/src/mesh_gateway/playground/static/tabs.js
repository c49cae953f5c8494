// Tabs as the ARIA Authoring Practices have them: one stop for Tab, arrows within.

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/**
 * Makes the buttons of a list into tabs, and selects the first.
 * @param {Element} list whose buttons have the role `tab`
 * @param {(tab: Element) => void} onSelect told of each selection
 */
export function makeTabs(list, onSelect) {
  const tabs = [...list.querySelectorAll('[role="tab"]')];

  function select(chosen) {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
    }
    onSelect(chosen);
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) select(tab);
  });
  list.addEventListener("keydown", (event) => {
    const next = target(tabs, event);
    if (!next) return;
    event.preventDefault();
    next.focus();
    select(next);
  });
  select(tabs[0]);
}

function target(tabs, event) {
  if (event.key === "Home") return tabs[0];
  if (event.key === "End") return tabs.at(-1);
  const step = STEPS[event.key];
  if (!step) return undefined;
  return tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
}
