// Server-sent events, read from a response. Source: the HTML standard, "Server-sent events".

const LINE_END = /\r\n|\n|\r(?!$)/;

/**
 * The data of each event.
 * @param {ReadableStream<Uint8Array>} body of a response
 */
export async function* events(body) {
  let data = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length) yield data.join("\n");
      data = [];
    } else if (line.startsWith("data:")) {
      data.push(line.slice(5).replace(/^ /, ""));
    }
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(LINE_END);
    rest = parts.pop();
    yield* parts;
  }
}
