import assert from "node:assert/strict";
import test from "node:test";

import { Api, Problem, serverEvents } from "../../medinterp/view/static/api.js";

/** A stream of these pieces of bytes. */
function stream(...pieces) {
  return ReadableStream.from(pieces.map((piece) => (typeof piece === "string" ? new TextEncoder().encode(piece) : piece)));
}

async function events(...pieces) {
  const found = [];
  for await (const event of serverEvents(stream(...pieces))) found.push(event);
  return found;
}

const SENT = "event: text\ndata: {\"delta\":\"é 🫁\"}\n\n: a comment\n\ndata: one\ndata: two\ndata:three\n\nid: 7\n\nevent: end\ndata\n\n";
const WANTED = [{ event: "text", data: "{\"delta\":\"é 🫁\"}" }, { event: "message", data: "one\ntwo\nthree" }, { event: "end", data: "" }];

test("events come whole, wherever the pieces end", async () => {
  for (const line of ["\n", "\r\n", "\r"]) {
    const bytes = new TextEncoder().encode(SENT.replaceAll("\n", line));
    assert.deepEqual(await events(bytes), WANTED);
    for (let cut = 1; cut < bytes.length; cut += 1) {
      assert.deepEqual(await events(bytes.subarray(0, cut), bytes.subarray(cut)), WANTED, `${JSON.stringify(line)} cut at ${cut}`);
    }
    assert.deepEqual(await events(...Array.from(bytes, (byte) => Uint8Array.of(byte))), WANTED, "byte by byte");
  }
});

test("an event that does not end is none", async () => {
  assert.deepEqual(await events("data: whole\n\ndata: half"), [{ event: "message", data: "whole" }]);
  assert.deepEqual(await events("data: half\n"), []);
  assert.deepEqual(await events(), []);
});

test("a colon in the data is data, one space is taken off", async () => {
  assert.deepEqual(await events("data:  a: b \n\n"), [{ event: "message", data: " a: b " }]);
});

/** Calls of an API whose server gives this answer; what was asked. */
function answered(answer, asked = []) {
  globalThis.fetch = async (url, options) => {
    asked.push([url, options]);
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return new Api("/v1");
}

const OPTIONS = { signal: new AbortController().signal, onText: () => {}, onProgress: () => {} };

test("a film is read: its words come in order, then the report; nothing may be kept by the browser", async () => {
  const said = [];
  const asked = [];
  const api = answered(new Response(stream("event: text\ndata: {\"delta\":\"A\"}\n\nevent: text\ndata: {\"delta\":\"B\"}\n\n",
    "event: news\ndata: {}\n\nevent: report\ndata: {\"id\":\"7\"}\n\nevent: text\ndata: {\"delta\":\"late\"}\n\n")), asked);
  assert.deepEqual(await api.read(new FormData(), { ...OPTIONS, onText: (text) => said.push(text) }), { id: "7" });
  assert.deepEqual(said, ["A", "B"]);
  const [[url, { cache, method, headers }]] = asked;
  assert.deepEqual([url, cache, method, headers.Accept], ["/v1/reports", "no-store", "POST", "text/event-stream"]);
});

test("an error in the stream is the problem that it tells", async () => {
  const api = answered(new Response(stream("event: error\ndata: {\"title\":\"Full.\",\"status\":507,\"type\":\"urn:x\"}\n\n")));
  await assert.rejects(api.read(new FormData(), OPTIONS), (error) => {
    assert.ok(error instanceof Problem);
    assert.deepEqual([error.title, error.status, error.type, error.flaws], ["Full.", 507, "urn:x", []]);
    return true;
  });
});

test("a stream that ends too early, and one that breaks, are said", async () => {
  await assert.rejects(answered(new Response(stream("event: text\ndata: {\"delta\":\"A\"}\n\n"))).read(new FormData(), OPTIONS), /ended the stream too early/);
  const broken = new ReadableStream({ pull(controller) { controller.error(new TypeError("cut")); } });
  await assert.rejects(answered(new Response(broken)).read(new FormData(), OPTIONS), /cut/);
});

test("who stops gets no problem", async () => {
  const stopped = new DOMException("stopped", "AbortError");
  await assert.rejects(answered(Object.assign(stopped)).json("/x"), (error) => error === stopped);
});

test("an answer that is a problem document, one that is none, and no answer", async () => {
  const refusal = new Response(JSON.stringify({ title: "Busy.", detail: "Come back.", status: 503 }),
    { status: 503, headers: { "Content-Type": "application/problem+json", "Retry-After": "7" } });
  await assert.rejects(answered(refusal).json("/models"), (error) => {
    assert.deepEqual([error.title, error.message, error.status, error.retryAfter], ["Busy.", "Come back.", 503, "7"]);
    return true;
  });
  const page = new Response("<html>", { status: 502, headers: { "Content-Type": "text/html" } });
  await assert.rejects(answered(page).json("/models"), (error) => error.title === "The server answered 502." && error.status === 502);
  const odd = new Response(JSON.stringify({ detail: [{ loc: 1 }] }), { status: 422, headers: { "Content-Type": "application/json" } });
  await assert.rejects(answered(odd).json("/x"), (error) => error.title === "The server answered 422." && error.detail === "");
  await assert.rejects(answered(new TypeError("fetch failed")).json("/models"), (error) => error instanceof Problem && /cannot be reached/.test(error.title));
});
