// What the tests share: where the mesh is, and a key for it.

/** The address of the API. */
export const baseURL = `${process.env.MESH_URL}/v1`;

/** A key for it. */
export const apiKey = process.env.MESH_KEY;

/** The name of the model whose user's message is a script. */
export const model = "llm";

/** A conversation of one message. */
export const user = (content) => [{ role: "user", content }];

/** The items of an asynchronous iterable. */
export async function all(iterable) {
  const found = [];
  for await (const item of iterable) found.push(item);
  return found;
}
