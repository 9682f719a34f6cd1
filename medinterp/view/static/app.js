// medinterp's page: a film goes in, a report comes out, a click on a word draws its map.
//
// Ids that stay (tests and other tools hold on to them):
//   #medinterp-banner    the banner           #medinterp-file, -prior    input type=file
//   #medinterp-status    what is going on     #medinterp-example-0 .. -7  the example films
//   #medinterp-error     a problem, if any    #medinterp-prompt    the prompt; #medinterp-indication  why the film was taken
//   #medinterp-ask       film and prompt, which fold away once a report is there; #medinterp-ask-toggle
//   #medinterp-given     details: the box for a report that somebody else wrote; -text, -count, -clear in it
//   #medinterp-given-note  that the report was given, or an engine wrote it; #medinterp-unlikely  what a wavy line means, where there is one
//   #medinterp-models    which model reads, where there are several, in #medinterp-models-label
//   #medinterp-read      "Read film"          #medinterp-stop      "Stop"
//   #medinterp-force     "Read it all the same", in #medinterp-error when a report was withheld
//   #medinterp-warnings  the film's warnings above the report: li[data-code]; #medinterp-film-warning  the first, on the viewer
//   #medinterp-window    by which window a DICOM is shown, in #medinterp-windows
//   #medinterp-model-view  shows the film as the model saw it; #medinterp-model-caption
//   #medinterp-tool-move, -zoom, -window, -region, -paint, -length  what dragging does; #medinterp-level, -width, -invert, -preset
//   #medinterp-report    the report; in it .medinterp-word[data-word-index="n"]
//   #medinterp-thinking  details in it: what the model thought before it answered, with words of the same kind
//   #medinterp-findings  findings; in it [data-finding-index="k"], of what is said twice that of the first
//   #medinterp-boxes     frames on the film, #medinterp-box-list  chips and verdicts: [data-box-index="k"]; #medinterp-judge-boxes
//   #medinterp-where     questions that are answered by boxes, beside the prompt
//   #medinterp-mentions  what is only named; in it [data-mention-index="k"]
//   #medinterp-sentences what dots under a sentence mean, with counts, where there are any
//   #medinterp-search, #medinterp-tint, #medinterp-legend   above the report
//   #medinterp-notes     what was done to the file, where the film is small
//   #medinterp-film      the film (canvas; data-width, data-height: its own size)
//   #medinterp-overlay   the map (canvas; data-drawn counts how often it was painted); #medinterp-subject, -drawn-method
//   #medinterp-side-right, -left  R and L; #medinterp-ruler-length, -said  what was measured; #medinterp-key-share
//   #medinterp-second    the view beside it: -film, -overlay, -what; #medinterp-beside, #medinterp-pin, #medinterp-difference
//   #medinterp-method    the methods          #medinterp-setting   "Detail" of one, in #medinterp-settings
//   #medinterp-quantity-relevancy, -disagreement   what of a consensus is seen, in #medinterp-quantity
//   #medinterp-measuring, -text, -bar, -stop  one being computed
//   #medinterp-judge     "Is this map true?"  #medinterp-judging, -text, -bar, -stop    being judged
//   #medinterp-verdict   [data-verdict]; its numbers in #medinterp-judgement, -reliance, -curves, -scores
//   #medinterp-drawer    [data-tab]: #medinterp-details (the selected word), -text, -heads, -region
//   #medinterp-tab-map, #medinterp-tab-compare  the views of the film's column: [data-tab] on #medinterp
//   #medinterp-compared-question, -report, #medinterp-question, -paraphrases  what is compared, in #medinterp-compare
//   #medinterp-compare-films, -maps, -run, -hint    on which films, whose maps; "Compare"
//   #medinterp-comparing, -text, -bar, -stop        being compared
//   #medinterp-compared  [data-verdict]; #medinterp-variants, #medinterp-comparison-key in #medinterp-comparison
//   #medinterp-opacity, -threshold, -colormap, -contours, -sinks, -show; #medinterp-scale-report, -scale-map
//   #medinterp-sign-in   asks for a key where the service wants one: -secret in it; #medinterp-sign-out
//   #medinterp-export, #medinterp-save  downloads; #medinterp-forget  DELETE; #medinterp-link  the view as an address
// #medinterp carries data-state: "empty", "chosen", "reading" or "read"; data-standalone where it is a file of its own.

/** @import { AskedMethod, ChosenFilm, Explanation, FileData, GuestTint, Limits, Models, Progress, ReadFilm, Selection, ViewState } from "./types" */
/** @import { Made } from "./methods.js" */
/** @import { Pack } from "./packs.js" */

import { Address } from "./address.js";
import { Api, Problem, isAbort } from "./api.js";
import { Beside } from "./beside.js";
import { Boxes } from "./boxes.js";
import { Comparing } from "./comparing.js";
import { Depth } from "./depth.js";
import { Details } from "./details.js";
import { byId, slicer } from "./dom.js";
import { showWarnings } from "./doubts.js";
import { Drawer } from "./drawer.js";
import { FileApi, fileData } from "./file.js";
import { statementOf } from "./findings.js";
import { Given } from "./given.js";
import { Heads } from "./heads.js";
import { Judging } from "./judging.js";
import { startKeys } from "./keys.js";
import { showMade } from "./made.js";
import { Methods } from "./methods.js";
import { ModelChoice } from "./models.js";
import { ModelView } from "./modelview.js";
import { Packs } from "./packs.js";
import { clearProblem, showProblem } from "./problem.js";
import { Prompting } from "./prompting.js";
import { Region } from "./region.js";
import { ReportView, selectedWords } from "./report.js";
import { Ruler } from "./ruler.js";
import { Saving } from "./saving.js";
import { SignIn } from "./session.js";
import { API_ROOT } from "./settings.js";
import { Source } from "./source.js";
import { TextSources } from "./sources.js";
import { Tabs } from "./tabs.js";
import { startTheme } from "./theme.js";
import { cutOff, unmarked } from "./thinking.js";
import { Tint } from "./tint.js";
import { Tools } from "./tools.js";
import { summary } from "./unlikely.js";
import { Viewer, decoded } from "./viewer.js";
import { Windows } from "./windows.js";

const RETRY = 2000; // ms between two questions whether the model is ready

class Page {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.data = fileData();
    this.file = this.data === null ? null : new FileApi(this.data);
    this.api = this.file ?? new Api(API_ROOT ?? "");
    /** @type {ChosenFilm | null} */
    this.film = null;
    /** @type {string | null} */
    this.window = null; // the one that this film was read by on request
    /** @type {Made | null} */
    this.explanation = null;
    /** @type {Packs | null} */
    this.packs = null; // of the report
    /** @type {Selection | null} */
    this.selection = null;
    /** @type {object | null} */
    this.loading = null; // stands for the maps that were asked for last
    /** @type {Limits | null} */
    this.limits = null;
    this.ready = false; // the model and the methods are known
    this.prompting = new Prompting();
    /** @type {AbortController | null} */
    this.reading = null; // of the report being written

    /** @type {GuestTint | null} */
    this.textTint = null; // by what the text gave the selection
    this.address = new Address(() => this.state, (state) => this.restore(state));

    const problem = (/** @type {unknown} */ error) => showProblem(error);
    this.models = new ModelChoice(this.prompting);
    this.given = new Given(problem);
    this.source = new Source((film) => this.choose(film), (file) => this.given.take(file), problem);
    this.viewer = new Viewer(() => this.lookChanged());
    this.modelView = new ModelView(this.api, this.viewer, problem);
    this.region = new Region(this.viewer, { onRegion: () => this.regionChanged(), onWord: (index) => this.goTo(index) });
    this.ruler = new Ruler(this.viewer);
    this.depth = new Depth(this.api, this.viewer, { onDeep: () => this.deepened(), onProblem: problem });
    this.tools = new Tools(this.viewer, { region: this.region, ruler: this.ruler }, () => this.depth.want());
    this.windows = new Windows((window) => this.read({ window }));
    this.report = new ReportView((selection) => this.select(selection));
    this.judging = new Judging(this.api, problem);
    this.boxes = new Boxes(this.file === null ? this.api : null, this.viewer, { onSelect: (words) => this.select(words), onProblem: problem });
    this.details = new Details(this.judging.node);
    this.comparing = new Comparing(this.api, problem);
    this.beside = new Beside(this.viewer, (method, image) => this.packFor(method, image), problem);
    this.tint = new Tint(this.report, this.data === null ? () => this.reliance() : null);
    this.sources = new TextSources(this.api, { onTint: (tint) => this.sourcesTinted(tint), onWord: (index) => this.goTo(index), onProblem: problem });
    this.heads = new Heads(this.api, { onMap: (map) => this.viewer.lend(map), onProblem: problem });
    this.drawer = new Drawer((tab) => this.showTab(tab));
    this.tabs = new Tabs(root, ["map", "compare"]);
    this.methods = new Methods(this.api, {
      onShow: (method, doubted) => this.showMethod(method, doubted),
      onStatus: (text) => this.status(text),
      onProblem: problem,
    });
    this.saving = new Saving(this.api, this.viewer, () => ({
      id: this.explanation?.id, selection: this.selection, method: this.methods.shown?.name }), problem);

    byId("read").addEventListener("click", () => this.read());
    byId("stop").addEventListener("click", () => this.reading?.abort());
    byId("forget").addEventListener("click", () => this.forget());
    byId("link").addEventListener("click", () => this.address.copy((text) => this.status(text)));
    byId("ask-toggle").addEventListener("click", () => this.openAsk(byId("ask").hidden !== false));
    for (const image of [0, 1]) byId(`image-${image}`).addEventListener("click", () => this.showImage(image));
    this.viewer.zoom.onChange(() => this.address.remember());
    startTheme(root);
    startKeys(root, this.data === null ? [] : ["m"]);
    this.setState("empty");
    this.status("");
  }

  async start() {
    if (this.data !== null && this.file !== null) {
      await this.standAlone(this.data, this.file);
      return;
    }
    new SignIn(this.api);
    this.loadExamples().catch((error) => showProblem(error));
    await this.becomeReady();
    await this.address.begin();
  }

  /**
   * A file holds one report with its films and maps.
   * @param {FileData} data
   * @param {FileApi} file
   */
  async standAlone({ explanation, methods, films }, file) {
    this.root.dataset.standalone = "";
    byId("tab-compare").hidden = true;
    this.methods.load(methods);
    this.ready = true;
    this.viewer.showFilms(await Promise.all(films.map((film) => file.picture(film))), filmsOf(explanation));
    this.explanation = explanation;
    this.showReport(false);
  }

  /** The page may be up before the model is: ask until it answers. */
  async becomeReady() {
    while (!this.ready) {
      try {
        await Promise.all([this.loadModel(), this.loadMethods()]);
        this.ready = true;
        this.status("");
        this.setState(this.root.dataset.state ?? "empty");
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        this.status(`Waiting for the model. ${error.title}`);
        await new Promise((resume) => setTimeout(resume, RETRY));
      }
    }
  }

  async loadModel() {
    /** @type {Models} */
    const { models, limits } = await this.api.json("/models");
    this.limits = limits;
    byId("max-tokens").max = String(limits.max_new_tokens);
    byId("max-tokens").value = String(limits.default_max_new_tokens);
    this.given.useLimit(limits.max_report_characters);
    byId("prompt").maxLength = byId("question").maxLength = limits.max_prompt_characters;
    this.models.load(models);
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

  // Maps

  /**
   * Another method's maps are to be seen; a judgement of the former one's is no longer waited for.
   * @param {AskedMethod} method
   */
  showMethod(method, doubted = false) {
    this.comparing.follow(method);
    if (this.explanation && this.selection) this.judging.show(this.explanation, this.selection, method, this.viewer.image);
    this.loadMaps(doubted);
    this.beside.use(this.explanation, this.computed);
    this.address.remember(true);
  }

  /** The methods that the report has maps of. */
  get computed() {
    return this.explanation === null ? [] : this.explanation.methods.map((name) => this.methods.kept(name));
  }

  /**
   * @param {string} method
   * @param {number} image
   */
  async packFor(method, image) {
    const options = this.explanation?.madeWith?.[method] ?? {};
    if (this.packs === null) return null;
    return this.packs.ready(method, options, image) ?? this.packs.fetch(method, image);
  }

  /** The maps of the shown method on the shown film: at once where they are here. doubted: they are asked for again. */
  async loadMaps(doubted = false) {
    const { packs, methods: { shown }, viewer: { image } } = this;
    if (this.explanation === null || packs === null || shown === null) return;
    const loading = {};
    this.loading = loading;
    const pack = packs.ready(shown.name, shown.options, image);
    if (pack !== null) {
      this.usePack(pack, shown);
      if (!doubted) return;
    } else this.viewer.usePack(null, shown);
    try {
      const fetched = await packs.fetch(shown.name, image);
      if (this.loading !== loading) return; // another report's, method's or film's maps are wanted by now
      if (!this.methods.confirm(fetched)) return;
      this.usePack(fetched, shown);
    } catch (error) {
      if (this.loading === loading) showProblem(error);
    }
  }

  /**
   * @param {Pack} pack
   * @param {AskedMethod} method
   */
  usePack(pack, method) {
    this.viewer.usePack(pack, method);
    this.methods.describeMembers(pack.members, this.viewer.quantity);
    this.region.changed();
    this.showSelectionFacts();
    this.beside.draw();
  }

  /** Scale, colours, sinks, quantity: drawn already; what is said of them follows. */
  lookChanged() {
    if (!this.explanation) return;
    this.modelView.leave();
    if (this.viewer.pack) this.methods.describeMembers(this.viewer.pack.members, this.viewer.quantity);
    this.region.changed();
    this.showSelectionFacts();
    this.beside.draw();
    this.address.remember();
  }

  /** A film has all its grays now: they are shown through the window that stands. */
  deepened() {
    this.viewer.view.drawFilm();
    this.beside.view.drawFilm();
    this.tools.say();
  }

  /** @param {number} image */
  showImage(image) {
    if (image === this.viewer.image || !this.viewer.films[image]) return;
    this.modelView.leave();
    this.viewer.showImage(image);
    this.boxes.showImage(image);
    this.region.clear();
    this.ruler.clear();
    if (!this.tools.plain) this.depth.want();
    this.tools.say();
    this.loadMaps();
    this.beside.use(this.explanation, this.computed);
    this.showTab(this.drawer.seen);
    this.address.remember();
  }

  // The film and the report

  /** @param {string} state */
  setState(state) {
    this.root.dataset.state = state;
    byId("read").disabled = !this.ready || this.film === null || state === "reading";
    byId("stop").hidden = state !== "reading";
    byId("files").hidden = byId("link").hidden = state !== "read";
  }

  /**
   * Film and prompt fold away while a report is read, and come back when the reader wants another.
   * @param {boolean} open
   */
  openAsk(open) {
    byId("ask").hidden = !open;
    byId("ask-toggle").setAttribute("aria-expanded", String(open));
    if (open) byId("column").scrollTop = 0;
  }

  /** @param {string} text */
  status(text) {
    if (byId("status").textContent !== text) byId("status").textContent = text; // not to be read out with each word
  }

  /**
   * Another film: the old report speaks of the old film and must not stand beside the new one.
   * @param {ChosenFilm} film
   */
  choose(film) {
    if (this.data !== null) return false; // dropped on a file, which has nobody to read it
    const limit = this.limits?.max_upload_bytes ?? Infinity;
    if (film.blob.size > limit) {
      showProblem(new Problem({
        title: "This film is too large.",
        detail: `It has ${(film.blob.size / 2 ** 20).toFixed(1)} MiB; the limit is ${(limit / 2 ** 20).toFixed(0)} MiB.`,
      }));
      return false;
    }
    this.reading?.abort();
    const other = this.film !== null && this.source.prior !== null; // an earlier film is of the patient it was chosen for
    if (other) this.source.takePrior(null);
    this.film = film;
    this.window = null;
    this.windows.clear();
    this.dropReport();
    clearProblem();
    this.setState("chosen");
    this.openAsk(true);
    const left = this.given.leave();
    const gone = [left ? "The report that was given" : "", other ? "The prior film" : "",
      this.prompting.leave() ? "The indication" : ""].filter(Boolean);
    if (this.ready) this.status(gone.map((what) => `${what} went with its film.`).join(" "));
    this.tabs.show("map");
    this.tools.setWindow({ level: 0.5, width: 1, inverted: false });
    this.viewer.preview(film.blob, film.name).catch(showProblem);
    this.address.remember(true);
    return true;
  }

  dropReport() {
    this.explanation = null;
    this.selection = null;
    this.packs = this.loading = null;
    this.methods.close();
    this.judging.leave();
    this.comparing.close();
    this.tint.close();
    this.report.clear();
    this.boxes.open(null);
    this.details.clear();
    this.sources.open(null, null);
    this.heads.open(null, null, 0);
    this.region.open(null);
    this.ruler.clear();
    this.depth.open(null, []);
    this.drawer.leave();
    this.viewer.forgetMap();
    this.modelView.close();
    this.beside.use(null, []);
    this.models.show(null);
    showWarnings([]);
  }

  /**
   * Have a report written, or the given one explained. window: of a DICOM, by default the one that was chosen for this
   * film; force: though a report would mean nothing.
   */
  async read({ window = this.window, force = false } = {}) {
    const { film } = this;
    if (film === null) return;
    const given = this.given.text;
    const previous = this.explanation; // of the same film: it comes back if nothing takes its place
    const reading = new AbortController();
    this.reading = reading;
    this.windows.busy(true);
    this.dropReport();
    clearProblem();
    this.setState("reading");
    this.openAsk(false);
    this.tabs.show("map");
    this.status("Reading the film …");
    if (matchMedia("(max-width: 1080px)").matches) byId("stage").scrollIntoView({ behavior: "smooth" });

    const form = new FormData();
    form.append("image", film.blob, film.name);
    if (this.source.prior !== null) form.append("prior", this.source.prior, this.source.prior.name);
    this.prompting.fill(form);
    const { wanted, model } = this.models;
    if (wanted !== null) form.append("model", wanted);
    if (model?.loaded === false) this.status(`Loading the model ${model.alias}, then reading the film …`);
    for (const name of this.methods.wanted) form.append("methods", name);
    if (given === null) form.append("max_new_tokens", byId("max-tokens").value);
    else form.append("report", given);
    if (window !== null) form.append("window", window);
    if (force) form.append("force", "true");

    const write = this.report.stream(given !== null);
    let pieces = 0;
    const onText = (/** @type {string} */ text) => {
      pieces += 1;
      const part = write(text);
      if (given !== null) this.status("Explaining the report …");
      else if (part.thought) this.status("Thinking before the report …");
      else if (part.text) this.status("Writing the report …");
    };
    const onProgress = (/** @type {Progress} */ progress) => this.status(this.methods.progressText(progress));
    try {
      const explanation = await this.api.read(form, { signal: reading.signal, onText, onProgress });
      await this.showFilms(explanation, reading.signal);
      reading.signal.throwIfAborted();
      this.explanation = explanation;
      this.window = window;
      this.given.explained = given;
      this.prompting.keep();
      this.showReport(true);
    } catch (error) {
      this.report.stopStream();
      if (this.film !== film) return; // another film was chosen meanwhile
      this.setState("chosen");
      this.windows.restore();
      if (previous !== null && pieces === 0) {
        this.explanation = previous;
        this.showReport(false);
      } else this.openAsk(pieces === 0);
      if (isAbort(error)) {
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

  /**
   * The films of a report as they were read.
   * @param {Explanation} explanation
   * @param {AbortSignal} [signal]
   */
  async showFilms(explanation, signal) {
    const { id } = explanation;
    const films = filmsOf(explanation);
    const pictures = await Promise.all(films.map(async (_, image) => {
      const picture = await decoded(await this.api.blob(`/reports/${id}/film.png${image ? `?image=${image}` : ""}`, signal));
      if (picture === null) throw new Error("The film that the server sent is not a picture.");
      return picture;
    }));
    if (signal?.aborted) for (const picture of pictures) picture.close(); // another film stands there by now
    signal?.throwIfAborted();
    this.viewer.showFilms(pictures, films);
  }

  /**
   * asking: a chosen method that was not computed with it is asked of the model now.
   * @param {boolean} asking
   */
  showReport(asking) {
    const { explanation } = this;
    if (explanation === null) return;
    const { id, film, prior, report, provenance } = explanation;
    const { given } = provenance;
    const warnings = [...film.warnings, ...(prior ? prior.warnings.map((one) => ({ ...one, text: `Prior film: ${one.text}` })) : [])];
    this.packs = new Packs(this.api, explanation);
    this.models.show(provenance);
    this.report.show(report, provenance);
    this.tint.open(report.words);
    this.region.open(report);
    this.boxes.open(explanation);
    showWarnings(warnings, given);
    if (this.film !== null) this.windows.show(film);
    if (this.data === null) {
      this.modelView.open(id);
      this.depth.open(id, filmsOf(explanation));
    }
    if (!this.tools.plain) this.depth.want();
    this.setState("read");
    this.openAsk(false);
    this.status(`${summary(report, given)}${warnings.length ? " Mind the warnings about the film." : ""}`);
    this.details.invite();
    const until = new Date(explanation.expires_at ?? 0);
    byId("kept").textContent = `Kept until ${until.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}.`;
    byId("cut").hidden = report.complete;
    byId("cut").textContent = report.complete ? ""
      : `${cutOff(report)}${this.data === null ? " Allow a longer report and read again." : ""}`;
    showMade(explanation, this.data?.file);
    this.comparing.open(explanation);
    this.saving.check();
    this.methods.open(explanation, asking);
  }

  // What is selected

  /** The tokens that wrote the selection. */
  get tokens() {
    if (this.explanation === null) return [];
    const { report } = this.explanation;
    return selectedWords(this.selection, report).flatMap((index) => report.words[index].token_indices);
  }

  get subject() {
    const { selection, explanation } = this;
    if (selection === null || explanation === null) return "";
    const { report } = explanation;
    if (selection.kind === "finding") return statementOf(report, selection.index).subject;
    return unmarked(slicer(report.text)(report.words[selection.first].start, report.words[selection.last].end));
  }

  /** @param {Selection | null} selection */
  select(selection) {
    if (!this.explanation) return;
    this.modelView.leave();
    this.selection = selection;
    this.viewer.select(selection ? this.tokens : [], selection ? this.subject : "");
    this.report.mark(selection);
    this.boxes.mark(selectedWords(selection, this.explanation.report));
    if (selection) {
      this.tabs.show("map");
      this.showSelectionFacts();
      this.drawer.offer();
    } else {
      this.judging.leave();
      this.details.invite();
      this.showTab(this.drawer.seen);
    }
    this.beside.draw();
    this.saving.check();
    this.address.remember(true);
  }

  /**
   * Choose a word that a list names.
   * @param {number} index
   */
  goTo(index) {
    this.report.focus(index);
    this.select({ kind: "words", first: index, last: index });
  }

  /** What is said of the selection beside the picture. */
  showSelectionFacts() {
    const { selection } = this;
    if (!selection || !this.explanation) return;
    this.details.show(selection, this.explanation.report, this.viewer.pack?.notes ?? []);
    if (this.methods.shown !== null) this.judging.show(this.explanation, selection, this.methods.shown, this.viewer.image);
    // A map can be true, a disagreement cannot; and a file has nobody to ask.
    this.judging.node.hidden = this.viewer.quantity === "disagreement" || this.data !== null;
  }

  /**
   * A view of the drawer is seen (null: none).
   * @param {string | null} tab
   */
  showTab(tab) {
    const selection = this.explanation ? this.selection : null;
    if (tab !== "heads") this.heads.leave();
    if (tab === "text") this.sources.open(this.explanation, selection);
    if (tab === "heads") this.heads.open(this.explanation, selection, this.viewer.image);
    if (tab === "region") this.region.render();
    this.lendTint();
    this.address.remember();
  }

  /** @param {GuestTint | null} tint */
  sourcesTinted(tint) {
    this.textTint = tint;
    this.lendTint();
  }

  regionChanged() {
    if (!this.drawer) return; // the page is being made
    if (!this.region.empty && !this.region.dragging && this.drawer.seen !== "region") this.drawer.open("region");
    else this.lendTint();
    this.address.remember();
  }

  /** The tint of the drawer's view takes the place of the chosen one while it is seen. */
  lendTint() {
    if (!this.explanation || !this.tint) return;
    const tints = this.drawer.seen === "region" ? this.region.tints : null;
    if (tints !== null) {
      const strengths = this.explanation.report.words.map(({ index }) => tints.get(index) ?? 0);
      this.tint.lend({ title: "Driven by the region", strengths, legend: ["not", "most"] });
    } else this.tint.lend(this.drawer.seen === "text" ? this.textTint : null);
  }

  /**
   * Have every word told what it loses without the film, in nats; false when it cannot be had.
   * @returns {Promise<boolean>}
   */
  async reliance() {
    const { explanation } = this;
    if (explanation === null) return false;
    this.status("Asking the model again: what each word loses without the film …");
    try {
      const { words } = await this.api.reliance(explanation.id);
      this.status("");
      for (const { index, reliance } of words) explanation.report.words[index].reliance = reliance;
      this.showSelectionFacts();
      return true;
    } catch (error) {
      this.status("");
      showProblem(error);
      return false;
    }
  }

  // The address

  /** @returns {ViewState} */
  get state() {
    const { selection, viewer } = this;
    const { zoom } = viewer;
    const { window } = this.tools;
    return {
      report: this.explanation?.id ?? null,
      words: selection?.kind === "words" ? [selection.first, selection.last] : null,
      finding: selection?.kind === "finding" ? selection.index : null,
      method: this.methods.shown?.name ?? null,
      image: viewer.image,
      scale: viewer.scale,
      quantity: viewer.quantity,
      box: this.region.box ? Object.values(this.region.box) : null,
      zoom: zoom.factor !== 1 ? [zoom.factor, zoom.x, zoom.y] : null,
      window: window.level !== 0.5 || window.width !== 1 || window.inverted ? [window.level, window.width, Number(window.inverted)] : null,
      tab: this.drawer.seen,
    };
  }

  /**
   * Show what an address tells.
   * @param {ViewState} state
   */
  async restore(state) {
    if (state.report === null) {
      if (this.explanation !== null && this.root.dataset.state === "read") this.leaveReport();
      return;
    }
    try {
      if (this.explanation?.id !== state.report) await this.openReport(state.report);
      if (this.explanation?.id === state.report) this.restoreView(state);
    } catch (error) {
      this.status("");
      showProblem(error);
    }
  }

  /**
   * A report that is kept on the server.
   * @param {string} id
   */
  async openReport(id) {
    this.reading?.abort();
    const reading = new AbortController(); // another film, report or step ends it
    this.reading = reading;
    this.dropReport();
    clearProblem();
    this.film = null;
    this.source.takePrior(null);
    this.source.chosen("Choose a film", null);
    this.windows.clear();
    this.setState("reading");
    byId("stop").hidden = true;
    this.status("Opening the report …");
    try {
      const explanation = await this.api.json(`/reports/${id}`, reading.signal);
      await this.showFilms(explanation, reading.signal);
      this.explanation = explanation;
      this.models.show(explanation.provenance, true);
      this.prompting.restore(explanation.provenance);
      this.showReport(false);
    } catch (error) {
      if (reading.signal.aborted) return; // what ended it is on the page
      this.viewer.forget(); // nothing of another report stands for it
      this.setState("empty");
      this.openAsk(true);
      throw error;
    } finally {
      if (this.reading === reading) this.reading = null;
    }
  }

  /** @param {ViewState} state */
  restoreView(state) {
    if (this.explanation === null) return;
    const { report } = this.explanation;
    if (state.image !== this.viewer.image) this.showImage(state.image);
    byId(/** @type {const} */ (`scale-${state.scale}`)).checked = true;
    if (state.method !== null && this.methods.isComputed(state.method) && state.method !== this.methods.shown?.name) {
      this.methods.show(this.methods.kept(state.method));
    }
    byId(/** @type {const} */ (`quantity-${state.quantity}`)).checked = true;
    this.viewer.lookChanged();
    if (state.words && state.words[0] <= state.words[1] && state.words[1] < report.words.length) {
      this.select({ kind: "words", first: state.words[0], last: state.words[1] });
    } else if (state.finding !== null && state.finding < report.findings.length) {
      this.select({ kind: "finding", index: state.finding });
    } else this.select(null);
    if (state.zoom) this.viewer.zoom.set(state.zoom[0], state.zoom[1], state.zoom[2]);
    else this.viewer.zoom.fit();
    const [level, width, inverted] = state.window ?? [0.5, 1, 0];
    this.tools.setWindow({ level, width, inverted: inverted === 1 });
    if (state.box) {
      const [left, top, right, bottom] = state.box;
      this.region.setBox({ left, top, right, bottom });
    } else this.region.clear();
    if (state.tab !== null && ["word", "text", "heads", "region"].includes(state.tab)) this.drawer.open(state.tab);
    else this.drawer.close();
  }

  leaveReport() {
    this.dropReport();
    this.viewer.forget();
    this.setState(this.film ? "chosen" : "empty");
    this.openAsk(true);
    this.status("");
    if (this.film) this.viewer.preview(this.film.blob, this.film.name).catch(showProblem);
  }

  async forget() {
    if (this.explanation === null) return;
    const { id } = this.explanation;
    try {
      await this.api.forget(id);
      this.beside.unpin(id);
      if (this.explanation?.id !== id) return; // another report is open by now
      this.dropReport();
      this.given.clear();
      this.prompting.clear();
      this.address.remember();
      this.address.keep(); // at once: its id is nothing any more
      if (this.film === null) this.viewer.forget();
      this.setState(this.film ? "chosen" : "empty");
      this.openAsk(true);
      this.status("Forgotten: film, report and maps are no longer on the server.");
    } catch (error) {
      showProblem(error);
    }
  }
}

/**
 * What is known of a report's films, the current one first.
 * @param {Pick<Explanation, "film" | "prior">} explanation
 * @returns {ReadFilm[]}
 */
function filmsOf({ film, prior }) {
  return prior ? [film, prior] : [film];
}

/**
 * @param {number} pieces of text that had come
 * @param {string | null} given
 */
function stopped(pieces, given) {
  if (!pieces) return "Stopped.";
  return given === null ? "Stopped. What was written so far has no maps." : "Stopped. The report was not explained.";
}

const root = document.getElementById("medinterp");
if (root === null) throw new Error("The document has no #medinterp.");
new Page(root).start().catch(showProblem);
