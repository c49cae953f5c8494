// A request as code that runs as it stands. The key is in none of it: it comes from a variable.

/** The languages, with what writes a request in each. */
export const LANGUAGES = [
  ["curl", curl],
  ["Python", python],
  ["JavaScript", javascript],
];

/**
 * A request.
 * @typedef {object} Request
 * @property {string} path relative to the gateway's own
 * @property {Record<string, any>} body
 * @property {string} [method] of the OpenAI clients, such as `chat.completions.create`
 */

function root() {
  return new URL(".", document.baseURI).href;
}

/** @param {Request} request */
function curl({ path, body }) {
  const json = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return [
    `curl -sS${body.stream ? "N" : ""} '${root()}${path}'`,
    `  -H "Authorization: Bearer $MESH_API_KEY"`,
    `  -H 'Content-Type: application/json'`,
    `  -d '${json}'`,
  ].join(" \\\n");
}

/** @param {Request} request */
function python({ path, body, method }) {
  if (!method) {
    return [
      "import os",
      "",
      "import httpx",
      "",
      "response = httpx.post(",
      `    ${literal(root() + path)},`,
      `    headers={"Authorization": f"Bearer {os.environ['MESH_API_KEY']}"},`,
      `    json=${literal(body, 4)},`,
      ")",
      "response.raise_for_status()",
      "print(response.json())",
    ].join("\n");
  }
  return [
    "import os",
    "",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(`${root()}v1`)}, api_key=os.environ["MESH_API_KEY"])`,
    `answer = client.${method}(`,
    ...Object.entries(body).map(([name, value]) => `    ${name}=${literal(value, 4)},`),
    ")",
    ...(body.stream
      ? [
          "for chunk in answer:",
          "    for choice in chunk.choices:",
          `        print(${method.startsWith("chat") ? "choice.delta.content" : "choice.text"} or "", end="", flush=True)`,
          "print()",
        ]
      : ["print(answer.model_dump_json(indent=2))"]),
  ].join("\n");
}

/** A value as Python writes it. */
function literal(value, indent = 0) {
  const inner = " ".repeat(indent + 4);
  const end = `\n${" ".repeat(indent)}`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const parts = Array.isArray(value)
    ? value.map((each) => literal(each, indent + 4))
    : Object.entries(value).map(
        ([name, each]) => `${JSON.stringify(name)}: ${literal(each, indent + 4)}`,
      );
  if (!parts.length) return open + close;
  return `${open}${parts.map((each) => `\n${inner}${each},`).join("")}${end}${close}`;
}

/** @param {Request} request */
function javascript({ path, body, method }) {
  const json = JSON.stringify(body, null, 2);
  if (!method) {
    return [
      `const response = await fetch(${JSON.stringify(root() + path)}, {`,
      `  method: "POST",`,
      `  headers: {`,
      "    authorization: `Bearer ${process.env.MESH_API_KEY}`,",
      `    "content-type": "application/json",`,
      `  },`,
      `  body: JSON.stringify(${json.replaceAll("\n", "\n  ")}),`,
      `});`,
      "if (!response.ok) throw new Error(await response.text());",
      "console.log(await response.json());",
    ].join("\n");
  }
  return [
    `import OpenAI from "openai";`,
    "",
    "const client = new OpenAI({",
    `  baseURL: ${JSON.stringify(`${root()}v1`)},`,
    "  apiKey: process.env.MESH_API_KEY,",
    "});",
    `const answer = await client.${method}(${json});`,
    ...(body.stream
      ? [
          "for await (const chunk of answer) {",
          "  for (const choice of chunk.choices) {",
          `    process.stdout.write(${method.startsWith("chat") ? "choice.delta.content" : "choice.text"} ?? "");`,
          "  }",
          "}",
        ]
      : ["console.log(answer);"]),
  ].join("\n");
}
