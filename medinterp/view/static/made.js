// How a report was made: enough to make it again.

/** @import { Explanation, ReadFilm } from "./types" */

import { byId, make } from "./dom.js";
import { sourceOf } from "./written.js";

/**
 * @param {string} name
 * @param {ReadFilm} film
 */
function film(name, { width, height, media_type: type, sha256, notes, window, windows }) {
  const label = windows.find((one) => one.name === window)?.label;
  return [
    [name, `${width} × ${height} pixels, ${type}, SHA-256 ${sha256}`],
    [`${name}: what was done to it`, notes.join("; ")],
    [`${name}: window`, [window, label].filter(Boolean).join(": ")],
  ];
}

/**
 * @param {Pick<Explanation, "film" | "prior" | "provenance">} explanation
 * @param {Record<string, string>} file what a file that stands by itself says of itself
 */
export function showMade({ film: current, prior, provenance }, file = {}) {
  const facts = [
    ["Model", `${provenance.model_id}, revision ${provenance.model_revision}`],
    ["Numbers", `${provenance.dtype} on ${provenance.device}`],
    ["Report", sourceOf(provenance) || "written by the model"],
    ["Seed", provenance.given ? "" : provenance.seed === null ? "none" : String(provenance.seed)],
    ["Token limit", provenance.given ? "" : String(provenance.max_new_tokens)],
    ["Prompt", provenance.prompt],
    ...film("Film", current),
    ...(prior ? film("Prior film", prior) : []),
    ...Object.entries(file).map(([name, fact]) => [`This file: ${name.replace("_", " ")}`, fact]),
    ["Libraries", Object.entries(provenance.library_versions).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  byId("made").querySelector("dl")?.replaceChildren(...facts.filter(([, fact]) => fact)
    .flatMap(([name, fact]) => [make("dt", {}, name), make("dd", {}, fact)]));
  byId("made").hidden = false;
}
