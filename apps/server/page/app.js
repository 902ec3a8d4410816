// The chat: composer, conversation, settings. The reading lens is in lens.js.
import {ApiError, getJson, isAbort, setKey, stream} from "./api.js";
import {Lens} from "./lens.js";

const $ = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString("en");
const lens = new Lens();

let messages = [];  // as the API takes them
let files = [];     // {name, text}, attached to the next message
let running = null; // AbortController of the answer that is being written

function element(tag, className, text) {
  const out = document.createElement(tag);
  if (className) out.className = className;
  if (text !== undefined) out.textContent = text;
  return out;
}

// --- Settings ------------------------------------------------------------------------------------

// Numbers out of range go to the server too: it says what is wrong.
function numberOf(id) {
  const {value} = $(id);
  return value === "" ? undefined : Number(value);
}

function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

// The seed is always given: the lens runs the request again and must get the same answer.
function requestOf(conversation) {
  const system = $("system").value.trim();
  const head = system ? [{role: "system", content: system}] : [];
  return {
    messages: [...head, ...conversation],
    temperature: numberOf("temperature"),
    top_p: numberOf("top-p"),
    max_tokens: numberOf("max-tokens"),
    seed: numberOf("seed") ?? randomSeed(),
    thinking: $("thinking").checked ? {type: "enabled"} : undefined,
  };
}

// --- Files ---------------------------------------------------------------------------------------

async function textOf(file) {
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder("utf-8", {fatal: true}).decode(bytes);
  } catch {
    throw new ApiError(`${file.name}: not UTF-8 text`);
  }
}

async function attach(chosen) {
  for (const file of chosen) {
    try {
      files.push({name: file.name, text: await textOf(file)});
    } catch (error) {
      addError(error.message);
    }
  }
  showFiles();
}

function showFiles() {
  $("files").replaceChildren(...files.map((file) => {
    const item = element("li", "", `${file.name}, ${count(file.text.length)} characters `);
    const remove = element("button", "", "Remove");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => {
      files = files.filter((other) => other !== file);
      showFiles();
      $("question").focus();
    });
    item.append(remove);
    return item;
  }));
}

// The form in which DeepSeek's models are given files.
function withFiles(question) {
  const parts = files.map((file) =>
    `[file name]: ${file.name}\n[file content begin]\n${file.text}\n[file content end]\n`);
  return parts.join("") + question;
}

// --- Conversation --------------------------------------------------------------------------------

function isAtEnd() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 80;
}

function scrollToEnd() {
  $("log").scrollTop = $("log").scrollHeight;
}

function addArticle(kind, label) {
  $("welcome").hidden = true;
  const article = element("article", kind);
  article.setAttribute("aria-label", label);
  $("log").append(article);
  return article;
}

function addQuestion(text) {
  const article = addArticle("question", "You");
  for (const file of files) article.append(element("p", "file", `Attached: ${file.name}`));
  article.append(element("p", "text", text));
  scrollToEnd();
  return article;
}

function addError(message) {
  const article = addArticle("error", "Error");
  article.append(element("p", "text", message));
  scrollToEnd();
}

// An answer on the page while it is written.
class Answer {
  constructor() {
    this.article = addArticle("answer", "Answer");
    this.article.setAttribute("aria-busy", "true");  // read out when it is whole
    this.text = this.article.appendChild(element("p", "text"));
    this.content = "";
    this.pieces = 0;
  }

  reasoning() {
    if (!this.thought) {
      const details = element("details", "reasoning");
      details.open = true;
      details.append(element("summary", "", "Reasoning"));
      this.thought = details.appendChild(element("p", "text"));
      this.article.prepend(details);
    }
    return this.thought;
  }

  add(delta) {
    const follow = isAtEnd();
    if (delta.reasoning_content) this.reasoning().append(delta.reasoning_content);
    if (delta.content) {
      this.text.append(delta.content);
      this.content += delta.content;
    }
    if (delta.reasoning_content || delta.content) this.pieces += 1;
    if (follow) scrollToEnd();
  }

  take(event) {
    if (event.usage) this.usage = event.usage;
    for (const choice of event.choices) {
      if (choice.delta) this.add(choice.delta);
      if (choice.finish_reason) this.reason = choice.finish_reason;
    }
  }

  // A stopped answer has no usage; it has at least as many tokens as it came in pieces.
  get nTokens() {
    return this.usage?.completion_tokens ?? this.pieces;
  }

  end(request) {
    const follow = isAtEnd();
    this.article.setAttribute("aria-busy", "false");
    this.text.normalize();
    const foot = this.article.appendChild(element("div", "foot"));
    foot.append(element("span", "usage", this.summary()));
    if (this.nTokens > 0) foot.append(this.lensButton(request));
    if (follow) scrollToEnd();
  }

  summary() {
    const {usage, reason} = this;
    if (!usage) return `${count(this.nTokens)} tokens or more, stopped`;
    const cut = reason === "length" ? ", cut at the limit" : "";
    return `${count(usage.completion_tokens)} tokens${cut} · prompt of ${count(usage.prompt_tokens)}: ` +
      `${count(usage.prompt_cache_hit_tokens)} from the cache, ` +
      `${count(usage.prompt_cache_miss_tokens)} read`;
  }

  lensButton(request) {
    const button = element("button", "", "Reading lens");
    button.type = "button";
    button.setAttribute("aria-haspopup", "dialog");
    button.addEventListener("click", () => lens.open(request, this.nTokens));
    return button;
  }
}

function setRunning(controller) {
  running = controller;
  $("send").hidden = controller !== null;
  $("stop").hidden = controller === null;
  $("new-chat").disabled = controller !== null;
}

// The text of the answer, or null when nothing came.
async function write(request) {
  const answer = new Answer();
  const body = {...request, stream: true, stream_options: {include_usage: true}};
  let failure = null;
  try {
    for await (const event of stream("/v1/chat/completions", body, running.signal)) {
      answer.take(event);
    }
  } catch (error) {
    failure = error;
  }
  const nothing = failure !== null && answer.pieces === 0;
  if (nothing) answer.article.remove();
  else answer.end(request);
  if (failure && !isAbort(failure)) fail(failure);
  return nothing ? null : answer.content;
}

// What a question that was not answered leaves to try again.
function takeBack(question, article, attached) {
  article.remove();
  messages.pop();
  files = attached;
  showFiles();
  if ($("question").value === "") $("question").value = question;
}

async function send() {
  const question = $("question").value.trim();
  if (running || (question === "" && files.length === 0)) return;
  setRunning(new AbortController());
  const article = addQuestion(question);
  messages.push({role: "user", content: withFiles(question)});
  const attached = files;
  files = [];
  showFiles();
  $("question").value = "";
  const content = await write(requestOf(messages));
  if (content === null) takeBack(question, article, attached);
  else messages.push({role: "assistant", content});
  setRunning(null);
  $("question").focus();
}

function newChat() {
  messages = [];
  for (const article of $("log").querySelectorAll("article")) article.remove();
  $("welcome").hidden = false;
  $("question").focus();
}

// --- The server ----------------------------------------------------------------------------------

function fail(error) {
  addError(error.message);
  if (error.status === 401) askForKey();
}

function askForKey() {
  $("key-form").hidden = false;
  $("key").focus();
}

async function connect() {
  try {
    const [model] = (await getJson("/v1/models")).data;
    $("model").textContent = `${model.id} · context of ${count(model.max_model_len)} tokens`;
    $("key-form").hidden = true;
  } catch (error) {
    if (error.status === 401) askForKey();
    else fail(error);
  }
}

function useKey(event) {
  event.preventDefault();
  setKey($("key").value);
  connect();
}

function onQuestionKey(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("question").addEventListener("keydown", onQuestionKey);
$("stop").addEventListener("click", () => running?.abort());
$("new-chat").addEventListener("click", newChat);
$("open-settings").addEventListener("click", () => $("settings").showModal());
$("attach").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", async () => {
  await attach($("file").files);
  $("file").value = "";
});
$("key-form").addEventListener("submit", useKey);
connect();
