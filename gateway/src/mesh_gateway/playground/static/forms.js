// What the fields of a form say, and which of them can't be sent.

import { FieldFault } from "./failures.js";

/** The text of a field that must have one. */
export function text(form, name) {
  const field = form.elements[name];
  if (!field.value.trim()) throw new FieldFault(field, `"${label(field)}" is empty: fill it in.`);
  return field.value;
}

/** The number in a field; undefined where it is empty. */
export function number(form, name) {
  const field = form.elements[name];
  if (field.value === "" && !field.validity.badInput) return undefined;
  if (!Number.isFinite(field.valueAsNumber)) {
    throw new FieldFault(field, `"${label(field)}" is not a number: write digits, or nothing.`);
  }
  return field.valueAsNumber;
}

/** The JSON in a field. */
export function json(form, name) {
  const field = form.elements[name];
  try {
    return JSON.parse(field.value);
  } catch (error) {
    throw new FieldFault(field, `"${label(field)}" is not JSON: ${error.message}.`);
  }
}

/** The lines of a field that have text; one at least. */
export function lines(form, name) {
  return text(form, name).split("\n").filter((line) => line.trim());
}

/** The same object without what is undefined. */
export function defined(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function label(field) {
  return field.labels[0].textContent.trim();
}
