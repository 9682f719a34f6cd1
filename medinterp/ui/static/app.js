// medinterp's page: a film goes in, a report comes out, a click on a word draws its map.
//
// Ids that stay (tests and other tools hold on to them):
//   #medinterp-banner    the banner           #medinterp-file      input type=file
//   #medinterp-status    what is going on     #medinterp-example-0 .. -7  the example films
//   #medinterp-error     a problem, if any    #medinterp-prompt    the prompt
//   #medinterp-given     details: the box for a report that somebody else wrote; -text, -count, -clear in it
//   #medinterp-given-note  that the report was given, or an engine wrote it; #medinterp-unlikely  what a wavy line means, where there is one
//   #medinterp-read      "Read film"          #medinterp-stop      "Stop"
//   #medinterp-force     "Read it all the same", in #medinterp-error when a report was withheld
//   #medinterp-warnings  the film's warnings above the report: li[data-code]; #medinterp-film-warning  the first, on the viewer
//   #medinterp-window    by which window a DICOM is shown, in #medinterp-windows
//   #medinterp-model-view  shows #medinterp-model-film, the film as the model saw it; #medinterp-model-caption
//   #medinterp-report    the report; in it .medinterp-word[data-word-index="n"]
//   #medinterp-thinking  details in it: what the model thought before it answered, with words of the same kind
//   #medinterp-findings  findings; in it [data-finding-index="k"], of a normal statement's findings that of the first
//   #medinterp-mentions  what is only named; in it [data-mention-index="k"]
//   #medinterp-sentences what dots under a sentence mean, with counts, where there are any
//   #medinterp-notes     what was done to the file, where the film is small
//   #medinterp-film      the film (img)       #medinterp-overlay   the film with the map (img)
//   #medinterp-method    the methods          #medinterp-setting   "Detail" of one, in #medinterp-settings
//   #medinterp-quantity-relevancy, -disagreement   what of a consensus is seen, in #medinterp-quantity
//   #medinterp-measuring, -text, -bar, -stop  one being computed
//   #medinterp-judge     "Is this map true?"  #medinterp-judging, -text, -bar, -stop    being judged
//   #medinterp-verdict   [data-verdict]; its numbers in #medinterp-judgement, -reliance, -curves, -scores
//   #medinterp-tab-map, #medinterp-tab-compare  the views of the middle column: [data-tab] on #medinterp
//   #medinterp-compared-question, -report, #medinterp-question, -paraphrases  what is compared, in #medinterp-compare
//   #medinterp-compare-films, -maps, -run, -hint    on which films, whose maps; "Compare"
//   #medinterp-comparing, -text, -bar, -stop        being compared
//   #medinterp-compared  [data-verdict]; #medinterp-variants, #medinterp-comparison-key in #medinterp-comparison
//   #medinterp-opacity, #medinterp-colormap, #medinterp-contours, #medinterp-sinks, #medinterp-show
//   #medinterp-scale-report, #medinterp-scale-map
//   #medinterp-details   the selected word    #medinterp-forget    DELETE
//   #medinterp-export-html, -json, -npz       downloads
// #medinterp carries data-state: "empty", "chosen", "reading" or "read".

import { Api, Problem } from "./api.js";
import { Comparing } from "./comparing.js";
import { Details } from "./details.js";
import { byId, make, slicer } from "./dom.js";
import { showWarnings } from "./doubts.js";
import { statementOf } from "./findings.js";
import { Given } from "./given.js";
import { Judging } from "./judging.js";
import { Maps } from "./maps.js";
import { Methods } from "./methods.js";
import { ModelView } from "./modelview.js";
import { clearProblem, showProblem } from "./problem.js";
import { ReportView, selectedWords } from "./report.js";
import { Source } from "./source.js";
import { Tabs } from "./tabs.js";
import { unmarked } from "./thinking.js";
import { summary } from "./unlikely.js";
import { Viewer } from "./viewer.js";
import { Windows } from "./windows.js";

const RETRY = 2000; // ms between two questions whether the model is ready

class Page {
  constructor(root) {
    this.root = root;
    this.api = new Api(root.dataset.apiRoot);
    this.film = null;
    this.window = null; // the one that this film was read by on request
    this.explanation = null;
    this.selection = null;
    this.maps = null; // of the report and the method on the screen
    this.loading = null; // stands for the maps that were asked for last
    this.limits = null;
    this.ready = false; // the model and the methods are known
    this.defaultPrompt = "";
    this.reading = null; // the AbortController of the report being written

    const problem = (error) => showProblem(error);
    this.given = new Given(problem);
    this.source = new Source((film) => this.choose(film), (file) => this.given.take(file), problem);
    this.viewer = new Viewer(this.api, problem);
    this.modelView = new ModelView(this.api, problem);
    this.windows = new Windows((window) => this.read({ window }));
    this.report = new ReportView((selection) => this.select(selection));
    this.judging = new Judging(this.api, problem);
    this.details = new Details(this.judging.node);
    this.comparing = new Comparing(this.api, problem);
    this.tabs = new Tabs(root, ["map", "compare"]);
    this.methods = new Methods(this.api, {
      onShow: (method) => this.showMethod(method),
      onStatus: (text) => this.status(text),
      onProblem: problem,
    });

    byId("read").addEventListener("click", () => this.read());
    byId("stop").addEventListener("click", () => this.reading?.abort());
    byId("forget").addEventListener("click", () => this.forget());
    for (const name of ["sinks", "quantity"]) byId(name).addEventListener("change", () => this.loadMaps());
    byId("prompt").addEventListener("input", () => this.showPromptState());
    byId("prompt-reset").addEventListener("click", () => {
      byId("prompt").value = this.defaultPrompt;
      this.showPromptState();
    });
    for (const link of byId("files").querySelectorAll("a")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        this.download(link.dataset.format);
      });
    }
    this.setState("empty");
    this.status("");
  }

  start() {
    this.loadExamples().catch((error) => showProblem(error));
    return this.becomeReady();
  }

  /** The page may be up before the model is: ask until it answers. */
  async becomeReady() {
    while (!this.ready) {
      try {
        await Promise.all([this.loadModel(), this.loadMethods()]);
        this.ready = true;
        this.status("");
        this.setState(this.root.dataset.state);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        this.status(`Waiting for the model. ${error.title}`);
        await new Promise((resume) => setTimeout(resume, RETRY));
      }
    }
  }

  async loadModel() {
    const { models, limits } = await this.api.json("/models");
    const model = models[0];
    this.limits = limits;
    byId("max-tokens").max = limits.max_new_tokens;
    byId("max-tokens").value = limits.default_max_new_tokens;
    this.given.useLimit(limits.max_report_characters);
    byId("prompt").maxLength = byId("question").maxLength = limits.max_prompt_characters;
    byId("notice").textContent = model.notice || "";
    byId("model").textContent = model.id;
    this.defaultPrompt = model.default_prompt;
    if (!byId("prompt").value) byId("prompt").value = this.defaultPrompt;
    this.showPromptState();
  }

  async loadMethods() {
    const [{ methods }, { perturbations }] = await Promise.all([this.api.json("/methods"), this.api.json("/perturbations")]);
    this.methods.load(methods);
    this.comparing.load(methods, perturbations);
  }

  async loadExamples() {
    const response = await fetch("examples");
    if (!response.ok) throw new Error(`The example films cannot be had: the server answered ${response.status}.`);
    this.source.showExamples((await response.json()).examples);
  }

  /** Another method's maps are to be seen; a judgement of the former one's is no longer waited for. */
  showMethod(method) {
    this.viewer.useMethod(method);
    this.comparing.follow(method);
    if (this.selection) this.judging.show(this.explanation, this.selection, method);
    this.loadMaps();
  }

  /** The numbers behind the colours: the key's ends, the read-out, the method's notes. */
  async loadMaps() {
    if (this.explanation === null) return;
    const loading = {};
    const withoutSinks = byId("sinks").checked;
    const { quantity } = this.viewer;
    const query = new URLSearchParams({ method: this.methods.shown.name, without_sinks: withoutSinks, quantity });
    this.loading = loading;
    this.maps = null;
    this.viewer.showNumbers(null, []);
    try {
      const answer = await this.api.json(`/reports/${this.explanation.id}/maps?${query}`);
      if (this.loading !== loading) return; // another report's, method's or quantity's maps are wanted by now
      if (!this.methods.confirm(answer)) return;
      this.maps = new Maps(answer);
      byId("sinks-label").hidden = !this.maps.hasSinks && !withoutSinks;
      this.methods.describeMembers(answer.members, quantity);
      this.showSelectionFacts();
    } catch (error) {
      if (this.loading === loading) showProblem(error);
    }
  }

  showPromptState() {
    byId("prompt-reset").hidden = byId("prompt").value === this.defaultPrompt;
  }

  setState(state) {
    this.root.dataset.state = state;
    byId("read").disabled = !this.ready || state === "empty" || state === "reading";
    byId("stop").hidden = state !== "reading";
    byId("files").hidden = state !== "read";
  }

  status(text) {
    if (byId("status").textContent !== text) byId("status").textContent = text; // not to be read out with each word
  }

  /** Another film: the old report speaks of the old film and must not stand beside the new one. */
  choose(film) {
    const limit = this.limits?.max_upload_bytes ?? Infinity;
    if (film.blob.size > limit) {
      showProblem(new Problem({
        title: "This film is too large.",
        detail: `It has ${(film.blob.size / 2 ** 20).toFixed(1)} MiB; the limit is ${(limit / 2 ** 20).toFixed(0)} MiB.`,
      }));
      return false;
    }
    this.reading?.abort();
    this.film = film;
    this.window = null;
    this.windows.clear();
    this.dropReport();
    clearProblem();
    this.setState("chosen");
    const left = this.given.leave();
    if (this.ready) this.status(left ? "The report that was given went with its film." : "");
    this.tabs.show("map");
    this.viewer.preview(film.blob, film.name);
    return true;
  }

  dropReport() {
    this.explanation = null;
    this.selection = null;
    this.maps = this.loading = null;
    this.methods.close();
    this.judging.leave();
    this.comparing.close();
    this.report.clear();
    this.details.clear();
    this.viewer.forgetOverlay();
    this.viewer.showNumbers(null, []);
    this.modelView.close();
    showWarnings([]);
  }

  /**
   * Have a report written, or the given one explained. window: of a DICOM, by default the one that was chosen for this
   * film; force: though a report would mean nothing.
   */
  async read({ window = this.window, force = false } = {}) {
    const film = this.film;
    const given = this.given.text;
    const previous = this.explanation; // of the same film: it comes back if nothing takes its place
    const reading = new AbortController();
    this.reading = reading;
    this.windows.busy(true);
    this.dropReport();
    clearProblem();
    this.setState("reading");
    this.tabs.show("map");
    this.status("Reading the film …");
    if (matchMedia("(max-width: 1080px)").matches) byId("stage").scrollIntoView({ behavior: "smooth" });

    const form = new FormData();
    form.append("image", film.blob, film.name);
    if (byId("prompt").value.trim()) form.append("prompt", byId("prompt").value);
    for (const name of this.methods.wanted) form.append("methods", name);
    if (given === null) form.append("max_new_tokens", byId("max-tokens").value);
    else form.append("report", given);
    if (window !== null) form.append("window", window);
    if (force) form.append("force", "true");

    const write = this.report.stream(given !== null);
    let pieces = 0;
    const onText = (text) => {
      pieces += 1;
      const written = write(text);
      if (given !== null) this.status("Explaining the report …");
      else if (written.thought) this.status("Thinking before the report …");
      else if (written.text) this.status("Writing the report …");
    };
    const onProgress = (progress) => this.status(this.methods.progressText(progress));
    try {
      const explanation = await this.api.read(form, { signal: reading.signal, onText, onProgress });
      await this.viewer.showFilm(explanation.id, explanation.film.notes, reading.signal);
      reading.signal.throwIfAborted();
      this.explanation = explanation;
      this.window = window;
      this.given.explained = given;
      this.showReport(true);
    } catch (error) {
      this.report.stopStream();
      if (this.film !== film) return; // another film was chosen meanwhile
      this.setState("chosen");
      this.windows.restore();
      if (previous !== null && pieces === 0) {
        this.explanation = previous;
        this.showReport(false);
      }
      if (error.name === "AbortError") {
        this.status(stopped(pieces, given));
      } else {
        this.status("");
        showProblem(error, () => this.read({ window, force: true }), given !== null);
      }
    } finally {
      if (this.reading === reading) {
        this.reading = null;
        this.windows.busy(false);
      }
    }
  }

  /** `asking`: a chosen method that was not computed with it is asked of the model now. */
  showReport(asking) {
    const { id, film, report, provenance } = this.explanation;
    const { given } = provenance;
    this.report.show(report, provenance);
    showWarnings(film.warnings, given);
    this.windows.show(film);
    this.modelView.open(id);
    this.setState("read");
    this.status(`${summary(report, given)}${film.warnings.length ? " Mind the warnings about the film." : ""}`);
    this.details.invite();
    const until = new Date(this.explanation.expires_at);
    byId("kept").textContent = `Kept until ${until.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}.`;
    byId("cut").hidden = report.complete;
    byId("cut").textContent = report.complete ? ""
      : `Cut off after ${report.tokens.length} tokens. Allow a longer report and read again.`;
    this.comparing.open(this.explanation);
    this.methods.open(this.explanation, asking);
  }

  select(selection) {
    if (!this.explanation) return;
    this.modelView.leave();
    this.selection = selection;
    this.report.mark(selection);
    if (!selection) {
      this.viewer.forgetOverlay();
      this.viewer.showNumbers(this.maps, []);
      this.judging.leave();
      this.details.invite();
      return;
    }
    this.tabs.show("map");
    this.showSelectionFacts();
    const { id, report } = this.explanation;
    if (selection.kind === "finding") {
      const { subject } = statementOf(report, selection.index);
      this.viewer.select(`/reports/${id}/overlay.png`, { finding: selection.index }, subject);
      return;
    }
    const { first, last } = selection;
    const subject = unmarked(slicer(report.text)(report.words[first].start, report.words[last].end));
    if (first === last) this.viewer.select(`/reports/${id}/words/${first}/overlay.png`, {}, subject);
    else this.viewer.select(`/reports/${id}/overlay.png`, { words: `${first}-${last}` }, subject);
  }

  /** What is said of the selection beside the picture; the maps' numbers come a moment later. */
  showSelectionFacts() {
    const { selection } = this;
    const words = selection ? selectedWords(selection, this.explanation.report) : [];
    this.viewer.showNumbers(this.maps, words.map((index) => this.explanation.report.words[index]));
    if (!selection) return;
    this.details.show(selection, this.explanation.report, this.maps ? this.maps.notes : []);
    this.judging.show(this.explanation, selection, this.methods.shown);
    this.judging.node.hidden = this.viewer.quantity === "disagreement"; // a map can be true, a disagreement cannot
  }

  async download(format) {
    try {
      const { id } = this.explanation;
      const blob = await this.api.blob(`/reports/${id}/export?format=${format}`);
      const url = URL.createObjectURL(blob);
      make("a", { href: url, download: `medinterp-report.${format}` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      showProblem(error);
    }
  }

  async forget() {
    try {
      await this.api.forget(this.explanation.id);
      this.dropReport();
      this.given.clear();
      this.setState("chosen");
      this.status("Forgotten: film, report and maps are no longer on the server.");
    } catch (error) {
      showProblem(error);
    }
  }
}

function stopped(pieces, given) {
  if (!pieces) return "Stopped.";
  return given === null ? "Stopped. What was written so far has no maps." : "Stopped. The report was not explained.";
}

/** Gradio draws the page's HTML after this file has run: wait for it. */
function whenDrawn(begin) {
  const present = document.getElementById("medinterp");
  if (present) {
    begin(present);
    return;
  }
  const observer = new MutationObserver(() => {
    const root = document.getElementById("medinterp");
    if (!root) return;
    observer.disconnect();
    begin(root);
  });
  observer.observe(document.documentElement, { childList: true, subtree: true });
}

whenDrawn((root) => new Page(root).start());
