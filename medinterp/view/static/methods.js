// The choice of a method. Some are computed with the report; for the others the model is asked again, once they are
// chosen: until their maps are there, the method shown before stays on the film, under its own name. Of a method with
// settings the report keeps one at a time.

/** @import { AskedMethod, Explanation, Method, Options, Progress, Quantity } from "./types" */
/** @import { Api } from "./api.js" */
/** @typedef {Explanation & { madeWith?: Record<string, Options> }} Made */

import { byId, make } from "./dom.js";
import { Question } from "./question.js";

/**
 * @param {Options} options
 * @param {Options} others
 */
function same(options, others) {
  return JSON.stringify(options) === JSON.stringify(others);
}

/**
 * A method as it is run with these options: title and meaning say which setting that is.
 * @param {Method} method
 * @param {Options} options
 * @returns {AskedMethod}
 */
function withOptions(method, options) {
  const setting = method.settings.find((one) => same(one.options, options));
  if (!setting) return { ...method, options };
  return { ...method, options, title: `${method.title}, ${setting.title}`, meaning: `${method.meaning} ${setting.meaning}` };
}

export class Methods {
  /**
   * @param {Pick<Api, "measure">} api
   * @param {{ onShow: (method: AskedMethod, doubted?: boolean) => void, onStatus: (text: string) => void,
   *   onProblem: (error: unknown) => void }} does onShow: another method is to be drawn, doubted: the server may keep
   *   other maps of it by now; onStatus, onProblem: for the reader
   */
  constructor(api, { onShow, onStatus, onProblem }) {
    this.api = api;
    this.onShow = onShow;
    this.onStatus = onStatus;
    this.onProblem = onProblem;
    /** @type {Method[]} */
    this.list = [];
    /** @type {Record<string, Options>} */
    this.picked = {}; // method -> options of the setting that the reader picked last
    /** @type {Made | null} */
    this.explanation = null;
    /** @type {AskedMethod | null} */
    this.shown = null; // the setting of a method whose maps are on the film; null without a report
    this.select = byId("method");
    this.settings = byId("setting");
    this.field = this.select; // the one that was used last: it takes the focus back
    this.select.addEventListener("change", () => this.changed());
    this.settings.addEventListener("change", () => this.settingChanged());
    this.question = new Question("measuring", () => this.stopped());
    byId("method-note").after(this.question.node);
  }

  /**
   * Fill the list with what the service offers.
   * @param {Method[]} list
   */
  load(list) {
    this.list = list;
    const group = (/** @type {string} */ label, /** @type {Method[]} */ methods) => (methods.length === 0 ? null : make("optgroup", { label },
      ...methods.map((method) => make("option", { value: method.name }, method.title))));
    const asks = (/** @type {Method} */ method) => method.on_model && !method.default;
    this.select.replaceChildren(...[
      group("Computed with the report", list.filter((method) => !asks(method))),
      group("Asks the model again", list.filter(asks)),
    ].filter((node) => node !== null));
    this.select.disabled = false;
    this.choose(withOptions(list.find((method) => method.default) ?? list[0], {}));
    this.describe(this.asked);
  }

  /**
   * Throws where the service has no such method.
   * @param {string} name
   */
  named(name) {
    const found = this.list.find((method) => method.name === name);
    if (found === undefined) throw new Error(`The service has no method ${name}.`);
    return found;
  }

  /** The method in the field. */
  get chosen() {
    return this.named(this.select.value);
  }

  /** The same in the setting that is chosen. */
  get asked() {
    const { chosen } = this;
    return withOptions(chosen, chosen.settings[this.settings.selectedIndex]?.options ?? {});
  }

  /**
   * Put a setting of a method into the fields. `members`: of a consensus, once its maps are there.
   * @param {AskedMethod} method
   */
  choose({ name, settings, options, members = [] }) {
    this.select.value = name;
    byId("settings").hidden = settings.length === 0;
    byId("quantity").hidden = members.length === 0;
    this.settings.replaceChildren(...settings.map(({ title }, index) => make("option", { value: index }, title)));
    this.settings.selectedIndex = settings.findIndex((setting) => same(setting.options, options));
  }

  /** Names to send with a film: the service's own, and the chosen one if it is computed with the report. */
  get wanted() {
    const { chosen } = this;
    return this.list.filter((method) => method.default || (method === chosen && !method.on_model))
      .map((method) => method.name);
  }

  /**
   * "Occlusion: 96 of 256 cells" for an event `progress` of a method.
   * @param {Progress} progress
   */
  progressText({ what, done, of }) {
    const method = this.list.find(({ name }) => name === what);
    return `${method ? method.title : what}: ${done} of ${of} ${unitOf(method)}`;
  }

  /**
   * A report is there. `asking`: the chosen method may be asked of the model, if it was not computed.
   * @param {Made} explanation
   * @param {boolean} asking
   */
  open(explanation, asking) {
    this.explanation = explanation;
    explanation.madeWith ??= {}; // method -> options; a report is made without any
    const { asked } = this;
    for (const option of this.select.options) {
      option.disabled = !this.isComputed(option.value) && !this.named(option.value).on_model;
    }
    if (this.isComputed(asked.name)) {
      this.show(this.kept(asked.name));
      return;
    }
    this.show(this.kept(explanation.methods[0]));
    if (asking && asked.on_model) this.measure(asked);
  }

  /** The report is gone: every method can be chosen again. */
  close() {
    this.question.abandon();
    this.explanation = null;
    this.shown = null;
    for (const option of this.select.options) option.disabled = false;
    if (this.list.length === 0) return; // not loaded yet
    this.choose(this.asked);
    this.describe(this.asked);
  }

  /** @param {string} name */
  isComputed(name) {
    return this.explanation !== null && this.explanation.methods.includes(name);
  }

  /**
   * The setting whose maps the report keeps.
   * @param {string} name
   */
  kept(name) {
    return withOptions(this.named(name), this.explanation?.madeWith?.[name] ?? {});
  }

  /** Another method: in the setting that is there, or else in the one that was picked last. */
  changed() {
    this.field = this.select;
    const { chosen } = this;
    const there = this.explanation !== null && this.isComputed(chosen.name);
    this.choose(there ? this.kept(chosen.name) : withOptions(chosen, this.picked[chosen.name] ?? {}));
    this.see();
  }

  settingChanged() {
    this.field = this.settings;
    const { asked } = this;
    this.picked[asked.name] = asked.options;
    this.see();
  }

  /** Show the maps that were chosen, if they are there, or have them computed. */
  see() {
    const { asked } = this;
    if (this.explanation === null) {
      this.describe(asked);
      return;
    }
    this.question.abandon();
    if (this.isComputed(asked.name) && same(this.kept(asked.name).options, asked.options)) this.show(asked);
    else this.measure(asked);
  }

  /**
   * Have a setting of a method drawn.
   * @param {AskedMethod} method
   */
  show(method) {
    this.shown = method;
    this.choose(method);
    this.describe(method);
    this.onShow(method);
  }

  /**
   * Whether maps that came are those shown: a question that was ended too late has put its own in their place.
   * @param {{ options: Options }} maps
   */
  confirm({ options }) {
    const { explanation, shown } = this;
    if (explanation === null || shown === null || same(options, shown.options)) return true;
    explanation.madeWith = { ...explanation.madeWith, [shown.name]: options };
    this.show(this.kept(shown.name));
    return false;
  }

  /**
   * Ask the model again for the maps of a method, which are kept with the report.
   * @param {AskedMethod} method
   */
  async measure(method) {
    const { explanation, shown } = this;
    if (explanation === null || shown === null) return;
    this.choose(method);
    byId("method-note").hidden = true;
    this.onStatus(`Asking the model again: ${method.title}.`);
    try {
      const maps = await this.question.ask(
        { what: method.title, unit: unitOf(method), note: `Until it is there, the maps are by ${shown.title}.` },
        (options) => this.api.measure(explanation.id, { method: method.name, ...method.options }, options),
      );
      if (maps === null) return;
      if (this.question.hadFocus) this.field.focus();
      explanation.methods = [...new Set([...explanation.methods, method.name])];
      explanation.madeWith = { ...explanation.madeWith, [method.name]: maps.options };
      this.onStatus(`Kept with the report: ${method.title}.`);
      this.show(method);
    } catch (error) {
      this.onStatus(`${method.title} could not be computed.`);
      if (this.question.hadFocus) this.field.focus();
      this.goBack();
      this.onProblem(error);
    }
  }

  stopped() {
    this.onStatus(`Stopped: ${this.asked.title} was not computed.`);
    this.goBack();
    this.field.focus();
  }

  /** To the method whose maps are on the film. */
  goBack() {
    const { shown } = this;
    if (shown === null) return;
    const again = this.chosen.name === shown.name; // other maps of it may have been kept all the same
    this.choose(shown);
    this.describe(shown);
    if (again) this.onShow(shown, true);
  }

  /** @param {AskedMethod} method */
  describe({ meaning, citation, on_model: onModel, default: always }) {
    const later = onModel && !always && this.explanation === null ? " It is computed once the report is there." : "";
    byId("method-note").replaceChildren(`${meaning}${later} `, make("cite", {}, citation));
    byId("method-note").title = citation; // where there is no room for it
    byId("method-note").hidden = false;
  }

  /**
   * Say of a method that joins others which they are, and what is seen of them.
   * @param {string[]} members
   * @param {Quantity} quantity
   */
  describeMembers(members, quantity) {
    const { shown } = this;
    if (members.length === 0 || shown === null) return;
    shown.members = members;
    const names = new Intl.ListFormat("en").format(members.map((name) => this.named(name).title));
    shown.meaning = quantity === "disagreement"
      ? `Bright where ${names} rank a cell far apart.`
      : `Bright where ${names} rank a cell high alike.`;
    if (this.question.running !== null) return;
    this.choose(shown);
    this.describe(shown);
  }
}

/**
 * What a method counts while it runs: occlusion hides cells, the others go from token to token.
 * @param {Method | undefined} method
 */
function unitOf(method) {
  return method?.family === "perturbation" ? "cells" : "tokens";
}
