// What an answer took, and where it comes from.

import { element } from "./dom.js";

const LINEAGE = ["model", "version", "variant", "run", "deployment", "feature_age_seconds"];

/** The figures of an outcome, as the children of a `dl`. */
export function figures(outcome, usage, streamed) {
  const { status, headers, firstMs, totalMs } = outcome;
  const timing = headers?.get("server-timing") ?? "";
  const generatingMs = streamed && firstMs !== undefined ? totalMs - firstMs : undefined;
  const tokens = usage?.completion_tokens;
  return [
    ["HTTP status", status],
    ["First chunk", streamed ? milliseconds(firstMs) : undefined],
    ["Total", milliseconds(totalMs)],
    ["In the gateway", milliseconds(duration(timing, "gateway"))],
    ["In the service", streamed ? undefined : milliseconds(duration(timing, "backend"))],
    ["Tokens in", usage?.prompt_tokens],
    ["Tokens out", tokens],
    ["Tokens/s", tokens > 1 && generatingMs > 0 ? rate(tokens - 1, generatingMs) : undefined],
  ]
    .filter(([, value]) => value !== undefined)
    .map(([term, value]) =>
      element("div", {}, element("dt", {}, term), element("dd", {}, String(value))),
    );
}

/** The lineage of an answer: of its body, of its tensors' parameters, or of its headers. */
export function lineage(outcome, data) {
  const found = data?.lineage ?? data?.parameters ?? {};
  const entries = LINEAGE.map((name) => [name, found[name]]);
  if (entries.some(([, value]) => value)) return entries.map(([name, value]) => [words(name), value]);
  return [...(outcome.headers ?? [])]
    .filter(([name]) => name.startsWith("x-mesh-"))
    .map(([name, value]) => [words(name.slice("x-mesh-".length)), value]);
}

function words(name) {
  return name.replaceAll(/[-_]/g, " ");
}

function duration(timing, name) {
  const found = timing.match(new RegExp(`${name};dur=([0-9.]+)`));
  return found ? Number(found[1]) : undefined;
}

function milliseconds(value) {
  if (value === undefined) return undefined;
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

function rate(count, ms) {
  return (count / (ms / 1000)).toFixed(1);
}
