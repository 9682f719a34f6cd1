// As much of a document as the scripts need to make nodes of text: no layout, no events.

class Stub {
  constructor(tag) {
    this.tag = tag;
    this.attributes = {};
    this.children = [];
    this.hidden = false;
    this.title = "";
    this.classes = new Set();
    this.classList = { contains: (name) => this.classes.has(name), add: (...names) => names.forEach((name) => this.classes.add(name)) };
  }

  setAttribute(name, value) {
    this.attributes[name] = value;
  }

  append(...children) {
    this.children.push(...children);
  }

  replaceChildren(...children) {
    this.children = children;
  }

  get textContent() {
    return this.children.map((child) => (typeof child === "string" ? child : child.textContent)).join("");
  }

  set textContent(text) {
    this.children = [text];
  }
}

const known = new Map();

/** The element #medinterp-NAME, made when it is first asked for. */
export function element(name) {
  const id = `medinterp-${name}`;
  if (!known.has(id)) known.set(id, new Stub("div"));
  return known.get(id);
}

export function text(content) {
  const node = new Stub("#text");
  node.textContent = content;
  return node;
}

globalThis.document = {
  createElement: (tag) => new Stub(tag),
  createElementNS: (_, tag) => new Stub(tag),
  createTextNode: text,
  getElementById: (id) => known.get(id) ?? null,
};
