// A report that stands in a file by itself: what the page asks of the HTTP API elsewhere is in the document here.

/** @import { FileData, PackedMaps } from "./types" */

import { Api, Problem } from "./api.js";
import { decoded } from "./viewer.js";

/**
 * What the document holds, null for a page over the API.
 * @returns {FileData | null}
 */
export function fileData() {
  const node = document.getElementById("medinterp-data");
  return node === null ? null : JSON.parse(node.textContent);
}

export class FileApi extends Api {
  /** @param {FileData} data */
  constructor(data) {
    super("");
    this.data = data;
  }

  /**
   * Nothing else is.
   * @returns {Promise<Response>}
   */
  async request() {
    throw new Problem({ title: "This file holds one report, and asks nothing of any machine." });
  }

  /**
   * Only a report's maps are asked for.
   * @param {string} path
   * @returns {Promise<PackedMaps>}
   */
  async json(path) {
    const query = new URLSearchParams(path.split("?")[1]);
    const found = this.data.packs.find((pack) => pack.method === query.get("method") && pack.image === Number(query.get("image")));
    if (!found) throw new Error(`This file has no maps by ${query.get("method")}.`);
    return found;
  }

  /**
   * The picture of a film of the file: PNG in base64.
   * @param {string} film
   */
  async picture(film) {
    const bytes = Uint8Array.from(atob(film), (letter) => letter.charCodeAt(0));
    const picture = await decoded(new Blob([bytes], { type: "image/png" }));
    if (picture === null) throw new Error("A film of this file is not a picture.");
    return picture;
  }
}
