// The reading lens: for a token of an answer, the context with the tokens that DSA selected for it.
//
// The server keeps no selections. The lens runs the request again, with the same seed and so with
// the same answer, as far as the token that is looked at; the prompt comes from the prefix cache.
import {isAbort, postJson} from "./api.js";
import {CHOSEN, ContextView, N_LEVELS} from "./context_view.js";
import {Strip} from "./strip.js";

const $ = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString("en");
const FIRST_BATCH = 8;         // tokens whose selections the first request asks for
const MOST_BATCH = 64;         // what the server allows
const BATCH_ENTRIES = 200000;  // positions of an answer, about
const MOST_KEPT = 512;         // selections kept for stepping back
const N_BRIGHTEST = 8;         // places to go to
const APART = 8;               // tokens between two of them, at least
const N_AROUND = 150;          // tokens of the answer shown on each side of the chosen one

// "6 %", "0.07 %"
function percent(part, whole) {
  const value = 100 * part / Math.max(whole, 1);
  return `${value < 1 ? Number(value.toPrecision(1)) : Math.round(value)} %`;
}

function positionsOf(deltas) {
  let position = 0;
  return deltas.map((delta) => position += delta);
}

// The place of each score between the lowest and the highest, 0 to 1; without scores all are 1.
function shares(scores, n, lowest) {
  if (scores.length !== n || scores.includes(null)) return new Array(n).fill(1);
  const low = lowest ?? scores.reduce((a, b) => Math.min(a, b), Infinity);
  const high = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  return scores.map((score) => high > low ? (score - low) / (high - low) : 1);
}

// What one token's reading lit: {positions, shares}, of the layer asked for or of all.
function lightOf(selection) {
  const source = selection.merged ?? selection.layers[0] ?? {deltas: [], scores: []};
  const positions = positionsOf(source.deltas);
  const lowest = selection.merged ? 0 : undefined;
  return {positions, shares: shares(source.scores, positions.length, lowest)};
}

// The brightest positions, each at a place of its own.
function brightest({positions, shares}) {
  const order = positions.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  const out = [];
  for (const i of order) {
    const apart = out.every((other) => Math.abs(other - positions[i]) >= APART);
    if (apart) out.push(positions[i]);
    if (out.length === N_BRIGHTEST) break;
  }
  return out;
}

export class Lens {
  constructor() {
    this.view = new ContextView($("lens-text"));
    this.strip = new Strip($("lens-strip"), this.view);
    this.fetching = null;
    $("lens-close").addEventListener("click", () => $("lens").close());
    $("lens").addEventListener("close", () => this.fetching?.abort());
    $("lens-back").addEventListener("click", () => this.go(this.token - 1));
    $("lens-on").addEventListener("click", () => this.go(this.token + 1));
    $("lens-layer").addEventListener("change", () => this.go(this.token));
    $("lens-answer").addEventListener("keydown", (event) => this.onKey(event));
    $("lens-answer").addEventListener("click", (event) => this.onClick(event));
  }

  // Shows the reading for the first token of the request's answer of n_tokens tokens.
  open(request, nTokens) {
    this.request = request;
    this.nTokens = nTokens;
    this.token = 0;
    this.batch = FIRST_BATCH;
    this.kept = new Map();
    this.prompt = null;
    this.shown = false;
    this.answer = {text: "", lengths: []};
    this.clear();
    $("lens").showModal();
    $("lens-answer").focus();
    this.go(0);
  }

  clear() {
    for (const id of ["lens-text", "lens-top", "lens-answer", "lens-status"]) $(id).replaceChildren();
    this.strip.show(new Uint8Array(0));
  }

  get layer() {
    return $("lens-layer").value;
  }

  keyOf(token) {
    return `${this.layer} ${token}`;
  }

  async go(token) {
    if (token < 0 || token >= this.nTokens) return;
    this.fetching?.abort();
    this.token = token;
    try {
      if (!this.kept.has(this.keyOf(token))) await this.fetch(token);
      this.show();
    } catch (error) {
      if (!isAbort(error)) $("lens-status").textContent = error.message;
    }
  }

  async fetch(token) {
    $("lens-status").textContent = "Computing the selections …";
    this.fetching = new AbortController();
    const end = Math.min(token + this.batch, this.nTokens);
    const all = this.layer === "all";
    const keys = {};
    for (let i = token; i < end; ++i) keys[i] = this.keyOf(i);
    const found = await postJson("/v1/selections", {
      request: {...this.request, max_tokens: end},
      tokens: Object.keys(keys).map(Number),
      layers: all ? [] : [Number(this.layer)],
      merged: all,
      prompt_text: this.prompt === null,
    }, this.fetching.signal);
    this.keep(found, keys);
  }

  keep(found, keys) {
    if (this.kept.size > MOST_KEPT) this.kept.clear();
    for (const selection of found.tokens) this.kept.set(keys[selection.index], selection);
    const entries = found.tokens.map((selection) => lightOf(selection).positions.length);
    this.batch = Math.min(MOST_BATCH, Math.max(1, Math.floor(BATCH_ENTRIES / Math.max(1, ...entries))));
    const first = this.prompt === null;
    if (first) this.prompt = found.prompt;
    if (first) this.setLayers(found.n_layers);
    const longer = found.answer.lengths.length > this.answer.lengths.length;
    if (longer) this.setAnswer(found.answer);
  }

  setLayers(n) {
    const select = $("lens-layer");
    if (select.length === n + 1) return;
    const names = Array.from({length: n}, (_, layer) => new Option(`Layer ${layer}`, layer));
    select.replaceChildren(new Option("All layers", "all", true, true), ...names);
  }

  // The context is the prompt and what the answer has so far.
  setAnswer(answer) {
    const scrolled = this.view.element.scrollTop;
    this.answer = answer;
    this.view.setText(this.prompt.text + answer.text, [...this.prompt.lengths, ...answer.lengths]);
    this.view.element.scrollTop = scrolled;
  }

  show() {
    const selection = this.kept.get(this.keyOf(this.token));
    if (!selection) return this.explainMissing();
    const light = lightOf(selection);
    const levels = new Uint8Array(this.view.nTokens);
    light.positions.forEach((position, i) =>
      levels[position] = 1 + Math.min(N_LEVELS - 1, Math.floor(light.shares[i] * N_LEVELS)));
    levels[selection.position] = CHOSEN;
    this.view.light(levels);
    this.strip.show(levels);
    this.showStatus(selection, light);
    this.showBrightest(light);
    this.showAnswer();
    if (!this.shown) this.view.scrollTo(brightest(light)[0] ?? 0);
    this.shown = true;
  }

  // A stopped answer may be shorter when it is run again to its end.
  explainMissing() {
    $("lens-status").textContent = "The answer has no such token.";
  }

  showStatus(selection, light) {
    const seen = selection.n_visible;
    const read = this.layer === "all" ? selection.n_read : light.positions.length;
    const any = light.positions.length;
    const together = `; all layers together ${count(any)}, ${percent(any, seen)}`;
    $("lens-status").textContent = `Token ${count(this.token + 1)} of ${count(this.nTokens)}: read ` +
      `${count(read)} of ${count(seen)} tokens, ${percent(read, seen)}` +
      (this.layer === "all" ? together : "");
  }

  showBrightest(light) {
    $("lens-top").replaceChildren(...brightest(light).map((position) => this.brightItem(position)));
  }

  // A button with the token between its neighbours: one alone is often a part of a word.
  brightItem(position) {
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    const text = (first, end) =>
      this.view.textOf(Math.max(0, first), Math.min(end, this.view.nTokens)).replaceAll("\n", "↵");
    const token = document.createElement("mark");
    token.className = `level-${N_LEVELS}`;
    token.textContent = text(position, position + 1);
    button.type = "button";
    button.append(text(position - 2, position), token, text(position + 1, position + 3));
    button.setAttribute("aria-label", `Go to token ${count(position + 1)}: ${token.textContent}`);
    button.addEventListener("click", () => this.view.scrollTo(position));
    return item;
  }

  showAnswer() {
    const known = this.answer.lengths.length;
    const first = Math.max(0, this.token - N_AROUND);
    const end = Math.min(known, this.token + N_AROUND + 1);
    const nodes = [first > 0 ? "… " : ""];
    for (let token = first; token < end; ++token) nodes.push(this.answerToken(token));
    if (end < this.nTokens) nodes.push(` … ${count(this.nTokens - end)} more`);
    const slider = $("lens-answer");
    slider.replaceChildren(...nodes);
    slider.setAttribute("aria-valuemin", 1);
    slider.setAttribute("aria-valuemax", this.nTokens);
    slider.setAttribute("aria-valuenow", this.token + 1);
    slider.setAttribute("aria-valuetext", `${this.token + 1}: ${this.answerText(this.token)}`);
    slider.querySelector(".chosen")?.scrollIntoView({block: "nearest"});
  }

  answerText(token) {
    return this.view.textOf(this.prompt.lengths.length + token);
  }

  answerToken(token) {
    const out = document.createElement("span");
    out.textContent = this.answerText(token);
    out.dataset.token = token;
    if (token === this.token) out.className = "chosen";
    return out;
  }

  onClick(event) {
    const token = event.target.dataset.token;
    if (token !== undefined) this.go(Number(token));
  }

  onKey(event) {
    const to = {
      ArrowLeft: this.token - 1, ArrowUp: this.token - 1,
      ArrowRight: this.token + 1, ArrowDown: this.token + 1,
      Home: 0, End: this.nTokens - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.go(to);
  }
}
