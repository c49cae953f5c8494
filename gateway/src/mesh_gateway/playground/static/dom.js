// Making and finding elements. Text goes in as text: nothing of an answer is ever parsed as HTML.

/**
 * A new element.
 * @param {string} name of the element
 * @param {Record<string, string | undefined>} attributes those that are undefined are left out
 * @param {...(Node | string)} children
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

/** The element inside `root` that the page calls by this name. */
export function part(root, name) {
  return root.querySelector(`[data-part="${name}"]`);
}

/** Terms and what they are, for a `dl`; those without a value are left out. */
export function pairs(entries) {
  return entries
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, String(value))]);
}
