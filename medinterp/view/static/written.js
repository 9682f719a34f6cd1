// Who wrote a report, where the model that explains it did not.

/** @import { Provenance } from "./types" */

/**
 * One sentence for people from a report's provenance, "" where the model here wrote it.
 * @param {Pick<Provenance, "given"> & Partial<Provenance>} provenance
 */
export function sourceOf({ given, writer, tokens_compared: compared, retokenised_at: place }) {
  if (given) return "Given, not written by the model.";
  if (!writer) return "";
  const written = `Written by ${writer} at an engine`;
  if (!compared) return `${written}, which did not tell its tokens: those explained here may be cut otherwise.`;
  if (place == null) return `${written}; its tokens are those explained here.`;
  return `${written}; from character ${place} on its tokens are cut otherwise than here.`;
}
