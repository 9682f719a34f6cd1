// What can be saved of a report, and of what is selected in it.

/** @import { Selection } from "./types" */
/** @import { Api } from "./api.js" */
/** @import { Viewer } from "./viewer.js" */

import { byId, make } from "./dom.js";
import { wordsOf } from "./asked.js";

// `of`: "report" as a whole, or the "selection" with the maps that are drawn. `ending`: of the file's name.
const FORMATS = [
  { name: "html", title: "This view as one file (HTML)", of: "report", ending: "html" },
  { name: "zip", title: "Everything (ZIP)", of: "report", ending: "zip" },
  { name: "png", title: "Film with the map (PNG)", of: "selection", ending: "png" },
  { name: "figure-png", title: "Figure (PNG)", of: "selection", ending: "figure.png" },
  { name: "figure-svg", title: "Figure (SVG)", of: "selection", ending: "figure.svg" },
  { name: "figure-pdf", title: "Figure (PDF)", of: "selection", ending: "figure.pdf" },
  { name: "json", title: "Report (JSON)", of: "report", ending: "json" },
  { name: "npz", title: "Maps (NPZ)", of: "report", ending: "npz" },
  { name: "msgpack", title: "Report and maps (msgpack)", of: "report", ending: "msgpack" },
  { name: "dicom-sc", title: "DICOM picture (Secondary Capture)", of: "selection", ending: "sc.dcm" },
  { name: "dicom-seg", title: "DICOM Segmentation of the findings", of: "report", ending: "seg.dcm" },
  { name: "dicom-sr", title: "DICOM Structured Report", of: "report", ending: "sr.dcm" },
];

export class Saving {
  /**
   * @param {Pick<Api, "blob">} api
   * @param {Viewer} viewer what is drawn
   * @param {() => { id?: string, selection: Selection | null, method?: string }} asked
   * @param {(error: unknown) => void} onProblem
   */
  constructor(api, viewer, asked, onProblem) {
    this.api = api;
    this.viewer = viewer;
    this.asked = asked;
    this.onProblem = onProblem;
    byId("export").append(...FORMATS.map(({ name, title }) => make("option", { value: name }, title)));
    byId("save").addEventListener("click", () => this.save());
    byId("export").addEventListener("change", () => this.check());
  }

  get format() {
    const chosen = byId("export").value;
    return FORMATS.find(({ name }) => name === chosen) ?? FORMATS[0];
  }

  /** What needs a selection cannot be had without one. */
  check() {
    const { format } = this;
    const missing = format.of === "selection" && this.asked().selection === null;
    byId("save").disabled = missing;
    byId("save").title = missing ? "Choose a word or a finding first" : "";
  }

  query() {
    const { format } = this;
    const { selection, method } = this.asked();
    const query = new URLSearchParams({ format: format.name });
    if (format.of === "report" || selection === null) return query;
    const { viewer } = this;
    const { quantity, withoutSinks, scale } = viewer.options;
    const asked = { ...wordsOf(selection), method, scale, quantity, without_sinks: withoutSinks, opacity: byId("opacity").value,
      ...(Number(byId("threshold").value) ? { cutoff: byId("threshold").value } : {}),
      contours: byId("contours").checked, ...(viewer.image ? { image: viewer.image } : {}) };
    for (const [name, value] of Object.entries(asked)) query.set(name, String(value));
    if (byId("colormap").value) query.set("colormap", byId("colormap").value);
    return query;
  }

  async save() {
    const { format } = this;
    byId("save").disabled = true;
    try {
      const blob = await this.api.blob(`/reports/${this.asked().id}/export?${this.query()}`);
      const url = URL.createObjectURL(blob);
      make("a", { href: url, download: `medinterp-report.${format.ending}` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      this.onProblem(error);
    } finally {
      this.check();
    }
  }
}
