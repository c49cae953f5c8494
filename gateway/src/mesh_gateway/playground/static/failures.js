// What went wrong, in words: of each form that the mesh's errors have.

const TITLES = {
  400: "The request is wrong",
  401: "The key is not accepted",
  403: "The key may not do this",
  404: "There is no such thing",
  405: "This can't be asked here",
  409: "It conflicts with another request",
  413: "The request is too large",
  415: "The body is not JSON",
  429: "A limit is reached",
  500: "A fault of the mesh",
  503: "The service can't answer now",
  504: "It was not answered in time",
};

/** Something that the page can say of itself, before or after a request. */
export class Failure extends Error {
  /**
   * @param {string} title a few words
   * @param {string} message a sentence
   * @param {string[]} notes more of it
   */
  constructor(title, message, notes = []) {
    super(message);
    this.title = title;
    this.notes = notes;
  }
}

/** A field of the page that can't be sent as it is. */
export class FieldFault extends Failure {
  /**
   * @param {HTMLElement} field
   * @param {string} message
   */
  constructor(field, message) {
    super("Not sent", message);
    this.field = field;
  }
}

/** The failure that a response tells of. */
export function ofResponse(response, text) {
  const title = `${TITLES[response.status] ?? "It failed"} (${response.status})`;
  const found = parsed(text);
  const { message, notes } = described(found, text);
  const wait = response.headers.get("retry-after");
  if (wait) notes.push(`Try again after ${wait} s.`);
  if (response.status === 401) notes.push("cli/mesh keys create NAME makes a key.");
  const id = response.headers.get("x-request-id");
  if (id) notes.push(`Request id: ${id}`);
  return new Failure(title, message, notes);
}

/** The failure that the last event of a stream tells of. */
export function ofEvent(data) {
  const { message, notes } = described(data, "");
  return new Failure("The stream was broken off", message, notes);
}

/** The failure of a request that had no response. */
export function ofNetwork() {
  return new Failure(
    "No answer",
    "The gateway can't be reached, or it broke the connection off. Is the mesh up (make status)?",
  );
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function described(found, text) {
  const error = found?.error;
  if (typeof error === "string") return { message: error, notes: [] };
  if (error) {
    const named = ["type", "code", "param"].filter((name) => error[name]);
    return { message: error.message, notes: named.map((name) => `${name}: ${error[name]}`) };
  }
  if (found?.detail) {
    const fields = (found.violations ?? []).map((each) => `${each.field} ${each.description}`);
    return { message: found.detail, notes: fields.length > 1 ? fields : [] };
  }
  return { message: text.slice(0, 300) || "The response has no body.", notes: [] };
}
