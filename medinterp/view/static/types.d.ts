// What the page's scripts speak of, for the checker alone (`make lint`): no browser ever gets this file.

// Answers of the HTTP API, as far as the page reads them. tests/test_view_types.py holds them against the API's own
// schema. What has a default there always stands in an answer.

/** An array: little-endian, in base64. */
export interface Numbers {
  dtype: string;
  shape: number[];
  data: string;
}

/** From, and up to but not with: characters, as code points. */
export type Span = [number, number];
/** Of the report's text: where something stands. */
export interface Placed {
  start: number;
  end: number;
}

export interface Word extends Placed {
  index: number;
  text: string;
  token_indices: number[];
  logprob: number;
  image_mass: number;
  section: string | null;
  unlikely: boolean;
  /** The largest loss with another film, nats, once it was asked for. */
  reliance?: number | null;
}

export interface Alternative {
  text: string;
  logprob: number;
}

export interface Token extends Placed {
  index: number;
  logprob: number;
  alternatives: Alternative[];
}

export interface Section extends Placed {
  name: string;
}

export interface Finding extends Placed {
  index: number;
  name: string;
  status: "present" | "uncertain" | "absent";
  side: string | null;
  zones: string[];
  word_indices: number[];
  section: string | null;
  hedge: Span | null;
  change: string | null;
}

export interface Mention extends Placed {
  index: number;
  name: string;
  role: string;
  word_indices: number[];
  section: string | null;
}

export interface Sentence extends Placed {
  reading: "read" | "other" | "unread";
}

/** A box that the answer draws, in shares of the film. */
export interface DrawnBox extends Placed {
  index: number;
  label: string;
  left: number;
  top: number;
  right: number;
  bottom: number;
  word_indices: number[];
  finding: string | null;
  flaws: string[];
}

/** How the map of some words lies to a box. */
export interface BoxMap {
  reliance: number;
  iou: number;
  share: number;
}

export interface BoxVerdict {
  index: number;
  own: BoxMap;
  finding: BoxMap | null;
  verdict: "agrees" | "elsewhere" | "text" | "unclear";
  sentence: string;
}

export interface Report {
  text: string;
  tokens: Token[];
  words: Word[];
  sections: Section[];
  findings: Finding[];
  complete: boolean;
  mentions: Mention[];
  sentences: Sentence[];
  thinking: Placed[];
  boxes: DrawnBox[];
  box_notes: string[];
}

export interface FilmWarning {
  code: string;
  text: string;
  withholds: boolean;
}

export interface WindowChoice {
  name: string;
  label: string;
}

/** A film as it was read. */
export interface ReadFilm {
  width: number;
  height: number;
  media_type: string;
  sha256: string;
  notes: string[];
  warnings: FilmWarning[];
  windows: WindowChoice[];
  window: string | null;
  bits: number;
  spacing?: { mm: number; plane: "detector" | "patient" } | null;
  sides_told: boolean;
}

export interface Provenance {
  model_id: string;
  model_revision: string;
  dtype: string;
  device: string;
  library_versions: Record<string, string>;
  prompt: string;
  seed: number | null;
  max_new_tokens: number;
  notice: string | null;
  given: boolean;
  writer: string | null;
  tokens_compared: boolean;
  retokenised_at: number | null;
  alias: string | null;
  conversation?: { system: string | null; turns: { role: "user" | "assistant"; parts: (string | number)[] }[] } | null;
}

export interface Explanation {
  id: string;
  expires_at: string | null;
  film: ReadFilm;
  prior?: ReadFilm | null;
  report: Report;
  methods: string[];
  rows: number;
  columns: number;
  provenance: Provenance;
  box_verdicts: BoxVerdict[];
}

export type Options = Record<string, boolean | number | string>;
export type Range = [number, number];

/** Of /reports/{id}/maps/packed: the maps of every token by one method. */
export interface PackedMaps {
  method: string;
  image: number;
  rows: number;
  columns: number;
  signed: boolean;
  additive: boolean;
  notes: string[];
  tokens: Numbers;
  scale: number;
  disagreement: Numbers | null;
  disagreement_scale: number | null;
  ranges: Ranges;
  members: string[];
  options: Options;
  sinks: Numbers | null;
}

export interface Ranges {
  relevancy: Range;
  relevancy_without_sinks: Range;
  disagreement: Range | null;
  disagreement_without_sinks: Range | null;
}

export interface Setting {
  title: string;
  meaning: string;
  options: Options;
}

export interface Method {
  name: string;
  family: string;
  title: string;
  meaning: string;
  citation: string;
  unit: string;
  on_model: boolean;
  default: boolean;
  settings: Setting[];
}

export interface Limits {
  max_upload_bytes: number;
  max_prompt_characters: number;
  max_report_characters: number;
  max_new_tokens: number;
  default_max_new_tokens: number;
}

export interface Models {
  models: {
    alias: string; id: string; loaded: boolean; problem: string | null; notice: string | null; default_prompt: string;
    reads_indication: boolean; box_question: string;
  }[];
  limits: Limits;
}

export interface Progress {
  what: string;
  done: number;
  of: number;
}

export interface Interval {
  value: number;
  low: number;
  high: number;
}

export interface OrderScores {
  deletion: Interval;
  insertion: Interval;
  srg: Interval;
  deletion_curve: number[];
  insertion_curve: number[];
}

export interface Judgement {
  logprob: number;
  blank_drop: number;
  swap_drops: number[];
  reliance: number;
  fractions: number[];
  scores: OrderScores;
  random: OrderScores;
  centre: OrderScores;
  over_random: Interval;
  over_centre: Interval;
  verdict: "region" | "picture" | "text";
  sentence: string;
}

/** What a word, the film or the template gave a selection. */
export interface Given {
  attention: number;
  gradient: number;
}

export interface TextSources {
  film: Given;
  first_token: { attention: number };
  template: Given;
  punctuation: Given;
  prompt: (Given & Placed & { text: string })[];
  report: (Given & { index: number })[];
}

export interface HeadMaps {
  rows: number;
  columns: number;
  layer_types: string[];
  sliding_window: number | null;
  mass: Numbers;
  maps: Numbers;
  scale: number;
  range: Range;
}

export interface Perturbation {
  name: string;
  meaning: string;
  mirrors: boolean;
}

export interface MapShift {
  method: string;
  bits: number | null;
  kept: number | null;
  other_answer: boolean;
}

export interface Margin {
  nats: number;
  token: string;
  rival: string;
}

export interface Variant {
  name: string;
  question: string;
  answer: string;
  changed: boolean;
  margin: Margin;
  margin_change: number;
  shifts: MapShift[];
}

export interface Said {
  status: "present" | "uncertain";
  side: string | null;
  zones: string[];
}

export interface FindingChange {
  name: string;
  before: Said | null;
  after: Said | null;
  change: "same" | "moved" | "hedged" | "affirmed" | "gone" | "new";
  logprob_change: number | null;
  shifts: MapShift[];
}

export interface ReportVariant {
  name: string;
  report: string;
  changed: boolean;
  findings: FindingChange[];
}

export interface QuestionCompared {
  kind: "question";
  methods: string[];
  perturbations: string[];
  question: string;
  answer: string;
  yes_no: boolean;
  margin: Margin;
  consistency: number | null;
  variants: Variant[];
}

export interface ReportCompared {
  kind: "report";
  methods: string[];
  perturbations: string[];
  report: string;
  variants: ReportVariant[];
}

/** An RFC 9457 problem document. */
export interface ProblemDocument {
  title?: string;
  type?: string;
  detail?: unknown;
  status?: number;
  flaws?: { where: string; what: string }[];
  request_id?: string | null;
}

// Of the page itself

/** What a reader has chosen: words (indices, both ends with it), or a finding. */
export type WordSelection = { kind: "words"; first: number; last: number };
export type Selection = WordSelection | { kind: "finding"; index: number };

/** A film that was chosen, not yet read. */
export interface ChosenFilm {
  blob: Blob;
  name: string;
}

export interface ExampleFilm {
  name: string;
  caption: string;
  url: string;
  thumbnail: string;
}

export interface Grid {
  rows: number;
  columns: number;
  /** Every pixel has its own cell's value; otherwise what lies between the cells' centres. */
  nearest?: boolean;
}

/** In CSS pixels, or in pixels of a canvas. */
export interface Size {
  width: number;
  height: number;
}

/** Where a film lies on a stage. */
export interface Place extends Size {
  left: number;
  top: number;
}

/** A part of the film, in shares of its width and height. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface Point {
  x: number;
  y: number;
}

/** values: rows x columns; range: what the colour scale spans. */
export interface PageMap extends Grid {
  values: Float32Array;
  signed: boolean;
  range: Range;
}

/** A map that is drawn in the selection's place. */
export type GuestMap = PageMap & { title: string };

export interface Contour {
  level: number;
  colour: number[];
}

/** How maps are painted; colours: 256 of RGB. */
export interface Look {
  colours: Uint8Array;
  opacity: number;
  threshold: number;
  contours: Contour[];
  nearest: boolean;
}

/** Middle and extent of the grays that are spread over the scale, in shares of the film's. */
export interface GrayWindow {
  level: number;
  width: number;
  inverted: boolean;
}

export type Quantity = "relevancy" | "disagreement";
export type Scale = "report" | "map";

/** What of a pack is drawn. */
export interface Drawn {
  quantity: Quantity;
  withoutSinks: boolean;
  scale: Scale;
}

/** What the address behind "#" tells. */
export interface ViewState {
  report: string | null;
  words: number[] | null;
  finding: number | null;
  method: string | null;
  image: number;
  scale: Scale;
  quantity: Quantity;
  box: number[] | null;
  zoom: number[] | null;
  window: number[] | null;
  tab: string | null;
}

/** How strongly each word is tinted, 0 to 1, and what the ends of that are called. */
export interface WordTint {
  strengths: number[];
  legend: [string, string] | string[];
}

export type GuestTint = WordTint & { title: string };

/** A method with the options that it is asked with, and what of a consensus it joins. */
export type AskedMethod = Method & { options: Options; members?: string[] };

/** What ends a question, and what is told how far it is. */
export interface Asking {
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

/** Text of a report by code points. */
export type Slicer = (start: number, end: number) => string;
export type Child = Node | string | null | undefined;
export type Attributes = Record<string, string | number | boolean | null | undefined>;

/** A report in a file by itself. */
export interface FileData {
  explanation: Explanation;
  packs: PackedMaps[];
  films: string[];
  methods: Method[];
  file: Record<string, string>;
}

type Inputs = "compared-question" | "compared-report" | "contours" | "difference" | "file" | "indication" | "invert" | "level"
  | "max-tokens" | "opacity" | "prior" | "quantity-disagreement" | "quantity-relevancy" | "question" | "scale-map"
  | "scale-report" | "cell-grid" | "nearest" | "search" | "show" | "sinks" | "threshold" | "width";
type Buttons = "ask-toggle" | "beside" | "compare-run" | "drawer-close" | "forget" | "given-clear" | "image-0" | "image-1"
  | "keys" | "link" | "model-view" | "pin" | "prior-clear" | "prompt-reset" | "read" | "save" | "sign-out" | "stop" | "theme"
  | "window-reset" | "zoom-own" | "zoom-fit" | "zoom-in" | "zoom-out";
type Selects = "colormap" | "export" | "method" | "models" | "preset" | "second-what" | "setting" | "tint" | "where" | "window";

/** The element of page.html with the id medinterp-NAME, as far as it is more than an HTMLElement. */
export type Named<Name extends string> = Name extends Inputs ? HTMLInputElement
  : Name extends Buttons ? HTMLButtonElement
  : Name extends Selects ? HTMLSelectElement
  : Name extends "film" | "key-strip" | "overlay" | "second-film" | "second-overlay" ? HTMLCanvasElement
  : Name extends "given-text" | "paraphrases" | "prompt" ? HTMLTextAreaElement
  : Name extends "given" | "made" ? HTMLDetailsElement
  : Name extends "compare-form" ? HTMLFormElement
  : Name extends "keys-list" | "sign-in" ? HTMLDialogElement
  : HTMLElement;
