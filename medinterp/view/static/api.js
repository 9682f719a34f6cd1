// The HTTP API under one root ("/v1"). Every answer is fetched with no-store: nothing of a film
// or a report stays in the browser's cache.

/** What went wrong, from an RFC 9457 problem document or from the network. */
export class Problem extends Error {
  constructor({ title, type = "", detail = "", status = 0, retryAfter = null, flaws = [] }) {
    super(detail || title);
    this.title = title;
    this.type = type; // urn:medinterp:problem:NAME, or nothing
    this.detail = detail;
    this.status = status;
    this.retryAfter = retryAfter;
    this.flaws = flaws;
  }

  static fromDocument(problem, { status = 0, retryAfter = null } = {}) {
    const detail = typeof problem.detail === "string" ? problem.detail : "";
    const title = problem.title || `The server answered ${problem.status || status}.`;
    const { type, flaws } = problem;
    return new Problem({ title, type, detail, status: problem.status || status, retryAfter, flaws });
  }

  static async fromResponse(response) {
    const context = { status: response.status, retryAfter: response.headers.get("Retry-After") };
    const type = response.headers.get("Content-Type") || "";
    if (type.includes("json")) return Problem.fromDocument(await response.json(), context);
    return Problem.fromDocument({}, context);
  }
}

/** Server-sent events of a response body: yields { event, data } with data as text. */
export async function* serverEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    // A carriage return at the very end may be half of a line end: it waits for the next piece.
    buffer += value;
    const held = buffer.endsWith("\r") ? "\r" : "";
    buffer = buffer.slice(0, buffer.length - held.length).replace(/\r\n?/g, "\n");
    let stop;
    while ((stop = buffer.indexOf("\n\n")) >= 0) {
      const block = buffer.slice(0, stop);
      buffer = buffer.slice(stop + 2);
      const message = { event: "message", data: [] };
      for (const line of block.split("\n")) {
        const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (field === "event") message.event = text;
        else if (field === "data") message.data.push(text);
      }
      if (message.data.length) yield { event: message.event, data: message.data.join("\n") };
    }
    buffer += held;
  }
}

export class Api {
  constructor(root) {
    this.root = root;
  }

  async request(path, options = {}) {
    let response;
    try {
      response = await fetch(this.root + path, { cache: "no-store", ...options });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ title: "The server cannot be reached.", detail: "Nothing was lost: try again." });
    }
    if (!response.ok) throw await Problem.fromResponse(response);
    return response;
  }

  async json(path) {
    return (await this.request(path, { headers: { Accept: "application/json" } })).json();
  }

  async blob(path, signal) {
    return (await this.request(path, { signal })).blob();
  }

  async forget(id) {
    await this.request(`/reports/${id}`, { method: "DELETE" });
  }

  /** Have a film read: onText gets the text as it grows; resolves with the explanation. */
  read(form, { signal, onText, onProgress }) {
    const events = { text: ({ delta }) => onText(delta), progress: onProgress };
    return this.streamed("/reports", { body: form, headers: {}, signal }, "report", events);
  }

  /** Have the maps of another method computed for a report: `asked` is { method } and its options; resolves with them. */
  measure(id, asked, options) {
    return this.ask(`/reports/${id}/maps`, asked, "maps", options);
  }

  /** Have a map judged: `asked` is { words or finding, method }; resolves with the judgement. */
  judge(id, asked, options) {
    return this.ask(`/reports/${id}/faithfulness`, asked, "faithfulness", options);
  }

  /** Have variants compared: `asked` is { questions, methods, perturbations }; resolves with the comparison. */
  compare(id, asked, options) {
    return this.ask(`/reports/${id}/sensitivity`, asked, "sensitivity", options);
  }

  /** What each word of a report loses when the film is blank or another. */
  async reliance(id) {
    const options = { method: "POST", headers: { Accept: "application/json" } };
    return (await this.request(`/reports/${id}/reliance`, options)).json();
  }

  /** Which words before a selection drove it: `asked` is { words or finding }. */
  textSources(id, asked, options) {
    return this.ask(`/reports/${id}/text`, asked, "text_sources", options);
  }

  /** What each layer and head looked at for a selection: `asked` is { words or finding, image }. */
  heads(id, asked, options) {
    return this.ask(`/reports/${id}/heads`, asked, "heads", options);
  }

  ask(path, question, last, { signal, onProgress }) {
    const headers = { "Content-Type": "application/json" };
    return this.streamed(path, { body: JSON.stringify(question), headers, signal }, last, { progress: onProgress });
  }

  /** POST, and read the event stream: `events` take what comes before the event `last`, whose data is the answer. */
  async streamed(path, { body, headers, signal }, last, events) {
    const response = await this.request(path, {
      method: "POST",
      body,
      headers: { ...headers, Accept: "text/event-stream" },
      signal,
    });
    try {
      for await (const { event, data } of serverEvents(response.body)) {
        if (event === last) return JSON.parse(data);
        if (event === "error") throw Problem.fromDocument(JSON.parse(data));
        events[event]?.(JSON.parse(data));
      }
    } catch (error) {
      if (error instanceof Problem || error.name === "AbortError") throw error;
      throw new Problem({ title: "The connection broke before the answer was there.", detail: error.message });
    }
    throw new Problem({ title: "The answer did not arrive.", detail: "The server ended the stream too early." });
  }
}
