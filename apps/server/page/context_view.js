// The text of a context with some of its tokens lit. The text stands in the page as a few hundred
// blocks; only blocks near the viewport hold marks, so that 100,000 tokens are quick to show.

const BLOCK_TOKENS = 512;
export const N_LEVELS = 5;           // of brightness; 0 is not lit
export const CHOSEN = N_LEVELS + 1;  // the level of the token whose reading is shown

function mark(text, level) {
  if (level === 0) return text;
  const out = document.createElement("mark");
  out.className = level === CHOSEN ? "chosen" : `level-${level}`;
  out.textContent = text;
  return out;
}

// Where each token begins, and the end of the last.
function startsOf(lengths) {
  const starts = new Int32Array(lengths.length + 1);
  lengths.forEach((length, i) => starts[i + 1] = starts[i] + length);
  return starts;
}

export class ContextView {
  constructor(element) {
    this.element = element;
    this.blocks = [];
    this.observer = new IntersectionObserver((entries) => this.onMoved(entries),
      {root: element, rootMargin: "100% 0px"});
  }

  get nTokens() {
    return this.starts.length - 1;
  }

  textOf(first, end = first + 1) {
    return this.text.slice(this.starts[first], this.starts[end]);
  }

  setText(text, lengths) {
    this.text = text;
    this.starts = startsOf(lengths);
    this.levels = new Uint8Array(lengths.length);
    this.observer.disconnect();
    this.blocks = [];
    for (let first = 0; first < this.nTokens; first = this.blocks.at(-1).end) {
      this.blocks.push(this.makeBlock(first));
    }
    this.element.replaceChildren(...this.blocks.map((block) => block.element));
    for (const block of this.blocks) this.observer.observe(block.element);
  }

  // A block ends with a line if it can, so that the cut is not seen.
  makeBlock(first) {
    const most = Math.min(first + BLOCK_TOKENS, this.nTokens);
    let end = most;
    while (end > first + BLOCK_TOKENS / 2 && !this.textOf(end - 1).endsWith("\n")) --end;
    if (most === this.nTokens || end === first + BLOCK_TOKENS / 2) end = most;
    const element = document.createElement("div");
    element.textContent = this.textOf(first, end);
    return {first, end, element, near: false};
  }

  onMoved(entries) {
    for (const entry of entries) {
      const block = this.blocks.find((candidate) => candidate.element === entry.target);
      if (!block || block.near === entry.isIntersecting) continue;
      block.near = entry.isIntersecting;
      this.paint(block);
    }
  }

  // levels: for every token 0 to N_LEVELS or CHOSEN.
  light(levels) {
    this.levels = levels;
    for (const block of this.blocks) {
      if (block.near) this.paint(block);
    }
  }

  paint(block) {
    if (block.near) block.element.replaceChildren(...this.runs(block.first, block.end));
    else block.element.textContent = this.textOf(block.first, block.end);
  }

  // Neighbours of the same brightness are one mark.
  runs(first, end) {
    const out = [];
    for (let from = first, to; from < end; from = to) {
      to = from + 1;
      while (to < end && this.levels[to] === this.levels[from]) ++to;
      const text = this.textOf(from, to);
      if (text) out.push(mark(text, this.levels[from]));
    }
    return out;
  }

  blockOf(token) {
    return this.blocks.find((block) => token < block.end) ?? this.blocks.at(-1);
  }

  scrollTo(token) {
    const box = this.element.getBoundingClientRect();
    const top = this.rectOf(token).top - box.top;
    this.element.scrollTop += top - box.height / 3;
  }

  rectOf(token) {
    const block = this.blockOf(token);
    let offset = this.starts[token] - this.starts[block.first];
    const nodes = document.createTreeWalker(block.element, NodeFilter.SHOW_TEXT);
    let node = nodes.nextNode();
    while (node && offset >= node.length) {
      offset -= node.length;
      node = nodes.nextNode();
    }
    if (!node) return block.element.getBoundingClientRect();
    const range = document.createRange();
    range.setStart(node, offset);
    range.setEnd(node, offset + 1);
    return range.getBoundingClientRect();
  }

  // The tokens in the viewport, near enough for the strip: [first, end).
  visible() {
    const top = this.element.scrollTop;
    return [this.tokenAt(top), this.tokenAt(top + this.element.clientHeight)];
  }

  tokenAt(y) {
    const above = (block) => block.element.offsetTop <= y;
    const block = this.blocks.findLast(above) ?? this.blocks[0];
    const {offsetTop, offsetHeight} = block.element;
    const share = Math.min(1, Math.max(0, (y - offsetTop) / offsetHeight));
    return Math.round(block.first + share * (block.end - block.first));
  }
}
