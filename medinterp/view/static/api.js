// The HTTP API under one root ("/v1"). Every answer is fetched with no-store: nothing of a film
// or a report stays in the browser's cache.

/** @import { Asking, BoxVerdict, Explanation, HeadMaps, Judgement, Options, ProblemDocument, QuestionCompared, ReportCompared, TextSources } from "./types" */

/** @type {Record<number, string>} what a proxy on the way says in words of its own, by status */
const BETWEEN = {
  413: "A proxy before the service takes no file of this size: its own limit (nginx: client_max_body_size) is lower than the service's. Whoever runs it can raise it.",
  502: "A proxy before the service does not reach it. Nothing was lost: try again shortly.",
  503: "A proxy before the service does not reach it. Nothing was lost: try again shortly.",
  504: "A proxy before the service did not wait for the answer: its own time limit (nginx: proxy_read_timeout) is too short. Whoever runs it can raise it.",
};

/** What went wrong, from an RFC 9457 problem document or from the network. */
export class Problem extends Error {
  /**
   * @param {{ title: string, type?: string, detail?: string, status?: number, retryAfter?: string | null,
   *   flaws?: ProblemDocument["flaws"] }} problem
   */
  constructor({ title, type = "", detail = "", status = 0, retryAfter = null, flaws = [] }) {
    super(detail || title);
    this.title = title;
    this.type = type; // urn:medinterp:problem:NAME, or nothing
    this.detail = detail;
    this.status = status;
    this.retryAfter = retryAfter;
    this.flaws = flaws;
  }

  /**
   * @param {ProblemDocument} problem
   * @param {{ status?: number, retryAfter?: string | null }} context
   */
  static fromDocument(problem, { status = 0, retryAfter = null } = {}) {
    const detail = typeof problem.detail === "string" ? problem.detail : "";
    const title = problem.title || `The server answered ${problem.status || status}.`;
    const { type, flaws } = problem;
    return new Problem({ title, type, detail, status: problem.status || status, retryAfter, flaws });
  }

  /** @param {Response} response */
  static async fromResponse(response) {
    const context = { status: response.status, retryAfter: response.headers.get("Retry-After") };
    const type = response.headers.get("Content-Type") || "";
    if (type.includes("json")) return Problem.fromDocument(await response.json(), context);
    return Problem.fromDocument({ detail: BETWEEN[response.status] }, context);
  }
}

/**
 * Server-sent events of a response body: yields { event, data } with data as text.
 * @param {ReadableStream<BufferSource>} stream
 */
export async function* serverEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  while (true) {
    const { value, done } = await reader.read();
    // A carriage return at the very end may be half of a line end: it waits for the next piece.
    buffer += value ?? "";
    const held = !done && buffer.endsWith("\r") ? "\r" : "";
    buffer = buffer.slice(0, buffer.length - held.length).replace(/\r\n?/g, "\n");
    let stop;
    while ((stop = buffer.indexOf("\n\n")) >= 0) {
      const block = buffer.slice(0, stop);
      buffer = buffer.slice(stop + 2);
      let event = "message";
      const data = [];
      for (const line of block.split("\n")) {
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "event") event = text;
        else if (field === "data") data.push(text);
      }
      if (data.length) yield { event, data: data.join("\n") };
    }
    if (done) return;
    buffer += held;
  }
}

/**
 * Whether a fetch was ended by this page.
 * @param {unknown} error
 */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

export class Api {
  /** @param {string} root */
  constructor(root) {
    this.root = root;
    /** @type {{ ask: () => Promise<void>, saw: (name: string) => void } | null} */
    this.door = null; // where somebody can sign in
  }

  /**
   * @param {string} path
   * @param {RequestInit} options
   */
  async request(path, options = {}) {
    let response = await this.fetched(path, options);
    if (response.status === 401 && this.door !== null) {
      await this.door.ask();
      response = await this.fetched(path, options);
    }
    const name = response.headers.get("X-Signed-In");
    if (name !== null) this.door?.saw(name);
    if (!response.ok) throw await Problem.fromResponse(response);
    return response;
  }

  /**
   * Show a key: a cookie stands for it from then on.
   * @param {string} key
   */
  async signIn(key) {
    const response = await this.fetched("/session", { method: "POST", headers: { Authorization: `Bearer ${key}` } });
    if (!response.ok) throw await Problem.fromResponse(response);
  }

  async signOut() {
    await this.fetched("/session", { method: "DELETE" });
  }

  /**
   * @param {string} path
   * @param {RequestInit} options
   */
  async fetched(path, options) {
    try {
      return await fetch(this.root + path, { cache: "no-store", ...options });
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new Problem({ title: "The server cannot be reached.", detail: "Nothing was lost: try again." });
    }
  }

  /**
   * @param {string} path
   * @param {AbortSignal} [signal]
   */
  async json(path, signal) {
    return (await this.request(path, { headers: { Accept: "application/json" }, signal })).json();
  }

  /**
   * @param {string} path
   * @param {AbortSignal} [signal]
   */
  async blob(path, signal) {
    return (await this.request(path, { signal })).blob();
  }

  /** @param {string} id */
  async forget(id) {
    await this.request(`/reports/${id}`, { method: "DELETE" });
  }

  /**
   * Have a film read: onText gets the text as it grows; resolves with the explanation.
   * @param {FormData} form
   * @param {Asking & { onText: (text: string) => void }} options
   * @returns {Promise<Explanation>}
   */
  read(form, { signal, onText, onProgress }) {
    const events = { text: (/** @type {{ delta: string }} */ { delta }) => onText(delta), progress: onProgress };
    return this.streamed("/reports", { body: form, headers: {}, signal }, "report", events);
  }

  /**
   * Have the maps of another method computed for a report: `asked` is { method } and its options; resolves with them.
   * @param {string} id
   * @param {{ method: string }} asked
   * @param {Asking} options
   * @returns {Promise<{ options: Options }>}
   */
  measure(id, asked, options) {
    return this.ask(`/reports/${id}/maps`, asked, "maps", options);
  }

  /**
   * Have a map judged: `asked` is { words or finding, method }; resolves with the judgement.
   * @param {string} id
   * @param {{ words?: string, finding?: number, method: string }} asked
   * @param {Asking} options
   * @returns {Promise<Judgement>}
   */
  judge(id, asked, options) {
    return this.ask(`/reports/${id}/faithfulness`, asked, "faithfulness", options);
  }

  /**
   * Whether each box of a report lies where the model looked.
   * @param {string} id
   * @param {Asking} options
   * @returns {Promise<{ boxes: BoxVerdict[] }>}
   */
  judgeBoxes(id, options) {
    return this.ask(`/reports/${id}/boxes`, {}, "boxes", options);
  }

  /**
   * Have variants compared: `asked` is { questions, methods, perturbations }; resolves with the comparison.
   * @param {string} id
   * @param {{ questions: string[], methods: string[], perturbations: string[] }} asked
   * @param {Asking} options
   * @returns {Promise<QuestionCompared | ReportCompared>}
   */
  compare(id, asked, options) {
    return this.ask(`/reports/${id}/sensitivity`, asked, "sensitivity", options);
  }

  /**
   * What each word of a report loses when the film is blank or another.
   * @param {string} id
   * @returns {Promise<{ words: { index: number, reliance: number }[] }>}
   */
  async reliance(id) {
    const options = { method: "POST", headers: { Accept: "application/json" } };
    return (await this.request(`/reports/${id}/reliance`, options)).json();
  }

  /**
   * Which words before a selection drove it: `asked` is { words or finding }.
   * @param {string} id
   * @param {{ words?: string, finding?: number }} asked
   * @param {Asking} options
   * @returns {Promise<TextSources>}
   */
  textSources(id, asked, options) {
    return this.ask(`/reports/${id}/text`, asked, "text_sources", options);
  }

  /**
   * What each layer and head looked at for a selection: `asked` is { words or finding, image }.
   * @param {string} id
   * @param {{ words?: string, finding?: number, image?: number }} asked
   * @param {Asking} options
   * @returns {Promise<HeadMaps>}
   */
  heads(id, asked, options) {
    return this.ask(`/reports/${id}/heads`, asked, "heads", options);
  }

  /**
   * @param {string} path
   * @param {object} question
   * @param {string} last
   * @param {Asking} asking
   */
  ask(path, question, last, { signal, onProgress }) {
    const headers = { "Content-Type": "application/json" };
    return this.streamed(path, { body: JSON.stringify(question), headers, signal }, last, { progress: onProgress });
  }

  /**
   * POST, and read the event stream: `events` take what comes before the event `last`, whose data is the answer.
   * @param {string} path
   * @param {{ body: BodyInit, headers: Record<string, string>, signal: AbortSignal }} request
   * @param {string} last
   * @param {Record<string, (data: any) => void>} events what each takes is the API's word
   */
  async streamed(path, { body, headers, signal }, last, events) {
    const response = await this.request(path, {
      method: "POST",
      body,
      headers: { ...headers, Accept: "text/event-stream" },
      signal,
    });
    try {
      if (response.body === null) throw new Problem({ title: "The server answered nothing." });
      for await (const { event, data } of serverEvents(response.body)) {
        if (event === last) return JSON.parse(data);
        if (event === "error") throw Problem.fromDocument(JSON.parse(data));
        events[event]?.(JSON.parse(data));
      }
    } catch (error) {
      if (error instanceof Problem || isAbort(error)) throw error;
      const detail = error instanceof Error ? error.message : "";
      throw new Problem({ title: "The connection broke before the answer was there.", detail });
    }
    throw new Problem({ title: "The answer did not arrive.", detail: "The server ended the stream too early." });
  }
}
