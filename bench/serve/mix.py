"""Requests of every kind the server knows, and what is right about an answer to each."""
import dataclasses
import json
import random
from collections.abc import Callable

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
SCHEMA = {"type": "object", "properties": {
    "name": {"enum": ["Moses", "Aaron"]}, "old": {"type": "boolean"}},
    "required": ["name", "old"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {
    "type": "object", "properties": {"book": {"type": "string", "enum": ["Genesis", "Exodus"]}},
    "required": ["book"]}}}]
STOPS = [" the", "\n", "and"]


@dataclasses.dataclass
class Choice:
    """One choice of an answer, in one piece or put together from a stream."""

    text: str = ""
    finish: str = ""
    arguments: str = ""  # of the tool calls
    n_logprobs: int = 0

    def add(self, part: dict) -> None:
        message = part.get("message") or part.get("delta") or {}
        self.text += part.get("text") or message.get("content") or ""
        for call in message.get("tool_calls") or []:
            self.arguments += call["function"]["arguments"]
        logprobs = part.get("logprobs") or {}
        self.n_logprobs += len(logprobs.get("tokens") or logprobs.get("content") or [])
        self.finish = part.get("finish_reason") or self.finish


@dataclasses.dataclass
class Answer:
    choices: dict[int, Choice] = dataclasses.field(default_factory=dict)
    n_tokens: int = 0
    rest: dict = dataclasses.field(default_factory=dict)  # what is no choice

    def add(self, event: dict) -> None:
        for part in event.pop("choices", []):
            self.choices.setdefault(part["index"], Choice()).add(part)
        self.rest.update(event)
        self.n_tokens = (event.get("usage") or {}).get("completion_tokens", self.n_tokens)


@dataclasses.dataclass
class Request:
    kind: str
    path: str
    body: dict
    check: Callable[[Answer], bool]
    status: int = 200


def is_finished(answer: Answer, n_choices: int = 1) -> bool:
    return (len(answer.choices) == n_choices and answer.n_tokens > 0 and
            all(c.finish in ("stop", "length") for c in answer.choices.values()))


def is_json(answer: Answer) -> bool:
    """Of SCHEMA, or the beginning of such."""
    choice = answer.choices[0]
    if choice.finish == "length":
        return True
    value = json.loads(choice.text)
    return value["name"] in ("Moses", "Aaron") and isinstance(value["old"], bool)


def is_call(answer: Answer) -> bool:
    choice = answer.choices[0]
    if choice.finish == "length":
        return True
    return json.loads(choice.arguments)["book"] in ("Genesis", "Exodus")


class Mix:
    """Draws requests; the same seed gives the same."""

    def __init__(self, text: str, positions: int) -> None:
        self.text, self.positions = text, positions
        # Documents that many prompts share, cut where a page may end or not.
        rng = random.Random(0)
        self.documents = [self.passage(rng, 1200) for _ in range(12)]
        makers = {self.completion: 20, self.chat: 14, self.shared: 16, self.choices: 8,
                  self.stop: 8, self.structured: 7, self.tools: 6, self.logprobs: 7,
                  self.selections: 4, self.tokenize: 7, self.too_long: 3}
        self.makers, self.weights = list(makers), list(makers.values())

    def passage(self, rng: random.Random, most: int) -> str:
        begin = rng.randrange(len(self.text) - most)
        return self.text[begin:begin + rng.randrange(20, most)]

    def draw(self, rng: random.Random) -> Request:
        return rng.choices(self.makers, self.weights)[0](rng)

    def probe(self, number: int) -> Request:
        """A greedy request whose answer must be the same to the last bit of a logprob, always."""
        body = {"prompt": self.documents[number % len(self.documents)][:300 + 30 * number],
                "max_tokens": 12, "temperature": 0, "logprobs": 2}
        return Request("greedy request again", COMPLETION, body, is_finished)

    def generate(self, rng, kind, path, prompt, check=is_finished, **fields) -> Request:
        """With a seed, at some temperature, streamed or not."""
        body = {"max_tokens": rng.randrange(1, 12), "seed": rng.randrange(1 << 40),
                "temperature": rng.choice([0, 0.7, 1, 1.5]), **fields}
        if path == CHAT:
            body["messages"] = [{"role": "user", "content": prompt}]
        else:
            body["prompt"] = prompt
        if rng.random() < 0.5:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return Request(kind, path, body, check)

    def completion(self, rng) -> Request:
        return self.generate(rng, "completion", COMPLETION, self.passage(rng, 400))

    def chat(self, rng) -> Request:
        return self.generate(rng, "chat", CHAT, self.passage(rng, 300),
                             reasoning_effort=rng.choice(["none", "high"]))

    def shared(self, rng) -> Request:
        document = rng.choice(self.documents)
        document = document[:rng.choice([len(document) // 2, len(document)])]
        return self.generate(rng, "shared prefix", COMPLETION, document + self.passage(rng, 60))

    def choices(self, rng) -> Request:
        n = rng.randrange(2, 5)
        return self.generate(rng, "n > 1", rng.choice([CHAT, COMPLETION]), self.passage(rng, 200),
                             lambda answer: is_finished(answer, n), n=n)

    def stop(self, rng) -> Request:
        return self.generate(
            rng, "stop", rng.choice([CHAT, COMPLETION]), self.passage(rng, 200),
            lambda answer: is_finished(answer) and
            not any(stop in answer.choices[0].text for stop in STOPS), stop=STOPS)

    def structured(self, rng) -> Request:
        schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
        return self.generate(rng, "JSON schema", CHAT, self.passage(rng, 100), is_json,
                             response_format=schema, max_tokens=40)

    def tools(self, rng) -> Request:
        return self.generate(rng, "tools", CHAT, self.passage(rng, 100), is_call, tools=TOOLS,
                             tool_choice="required", parallel_tool_calls=False, max_tokens=40)

    def logprobs(self, rng) -> Request:
        def check(answer):
            return is_finished(answer) and answer.choices[0].n_logprobs > 0
        fields = {"temperature": 0, "logit_bias": {"1": -100}}  # 1: the end, which has no logprob
        if rng.random() < 0.5:
            return self.generate(rng, "logprobs", CHAT, self.passage(rng, 200), check,
                                 logprobs=True, top_logprobs=3, **fields)
        return self.generate(rng, "logprobs", COMPLETION, self.passage(rng, 200), check,
                             logprobs=3, **fields)

    def selections(self, rng) -> Request:
        request = {"prompt": self.passage(rng, 600), "max_tokens": 3, "temperature": 0,
                   "logit_bias": {"1": -100}}
        return Request("selections", "/v1/selections",
                       {"request": request, "tokens": [0, 2], "layers": "all"},
                       lambda answer: [t["index"] for t in answer.rest["tokens"]] == [0, 2])

    def tokenize(self, rng) -> Request:
        return Request("tokenize", "/tokenize", {"prompt": self.passage(rng, 1000)},
                       lambda answer: answer.rest["count"] == len(answer.rest["tokens"]) > 0)

    def too_long(self, rng) -> Request:
        n = self.positions + rng.randrange(1000)
        return Request("too long", COMPLETION, {"prompt": [5] * n, "max_tokens": 1},
                       lambda answer: answer.rest["error"]["code"] == "context_length_exceeded",
                       status=400)
