"""Sends a server the requests of people who read long documents, and times the answers.

A visitor comes with a document, asks about it, reads the answer, asks again; visitors arrive at
random, some of them in bursts. Needs nothing but the standard library; talks to any server with
OpenAI's /v1/completions that streams and takes token ids as prompts.
"""
import dataclasses
import http.client
import random
import threading
import time

import client


END_ID = 1  # of models/*: the end of a text


@dataclasses.dataclass(frozen=True)
class Load:
    """What arrives. Times in seconds, lengths in tokens."""

    visitors_per_minute: float
    minutes: float
    shortest: int = 1000  # document; lengths between are equally likely on a logarithmic scale
    longest: int = 8000
    questions: int = 3  # of a visitor, about one document
    question_tokens: int = 24
    answer_tokens: int = 48
    pause: float = 3.0  # mean time a visitor takes to read an answer
    burst_share: float = 0.3  # of visitors who come together with the one before
    shared_share: float = 0.25  # of visitors who bring a document that another has brought
    seed: int = 1


@dataclasses.dataclass
class Answer:
    """One request as its client saw it."""

    question: int  # 0: the first about this document
    prompt_tokens: int
    sent: float  # seconds since the run began
    first: float = 0.0  # seconds from sending to the first token; 0: none came
    gaps: list = dataclasses.field(default_factory=list)  # between tokens
    hit_tokens: int = 0  # of the prompt, from the server's cache
    ids: list = dataclasses.field(default_factory=list)
    error: str = ""


def document_length(load: Load, rng: random.Random) -> int:
    return int(load.shortest * (load.longest / load.shortest) ** rng.random())


def make_visits(load: Load, text: list[int]) -> list[tuple[float, list[int]]]:
    """(arrival, document) of every visitor, by time."""
    rng = random.Random(load.seed)
    visits = []
    now = 0.0
    while True:
        if not visits or rng.random() >= load.burst_share:
            # Those who come together count too, so gaps are longer.
            now += rng.expovariate(load.visitors_per_minute / 60 * (1 - load.burst_share))
        if now > load.minutes * 60:
            return visits
        if visits and rng.random() < load.shared_share:
            document = rng.choice(visits)[1]
        else:
            n = document_length(load, rng)
            begin = rng.randrange(len(text))
            document = (text[begin:] + text * (n // len(text) + 1))[:n]
        visits.append((now, document))


class Client:
    """One visitor: asks in turn, each question after the answer before it."""

    def __init__(self, address, load: Load, start: float, visit, number: int, answers, lock):
        self.address, self.load, self.start = address, load, start
        self.arrival, self.document = visit
        self.rng = random.Random(load.seed * 100_003 + number)
        self.answers, self.lock = answers, lock

    def run(self) -> None:
        time.sleep(max(0.0, self.start + self.arrival - time.monotonic()))
        prompt = list(self.document)
        for question in range(self.load.questions):
            ids = self.rng.choices(self.document, k=self.load.question_tokens)
            prompt = prompt + ids
            answer = Answer(question, len(prompt), time.monotonic() - self.start)
            try:
                self.ask(prompt, answer)
            except (OSError, http.client.HTTPException, ValueError) as error:
                answer.error = f"{type(error).__name__}: {error}"
            with self.lock:
                self.answers.append(answer)
            if answer.error:
                return
            prompt = prompt + answer.ids
            time.sleep(self.rng.expovariate(1 / self.load.pause))

    def ask(self, prompt: list[int], answer: Answer) -> None:
        body = {"prompt": prompt, "max_tokens": self.load.answer_tokens, "temperature": 0,
                "logit_bias": {str(END_ID): -100},  # answers are as long as they may be
                "stream": True, "stream_options": {"include_usage": True}}
        before = last = time.monotonic()
        with client.post(self.address, "/v1/completions", body) as response:
            if response.status != 200:
                told = response.read(300).decode(errors="replace")
                raise ValueError(f"{response.status}: {told}")
            for event in client.events(response):
                if usage := event.get("usage"):
                    answer.hit_tokens = usage["prompt_tokens_details"]["cached_tokens"]
                if any(choice.get("text") for choice in event.get("choices", [])):
                    now = time.monotonic()
                    if last == before:
                        answer.first = now - before
                    else:
                        answer.gaps.append(now - last)
                    last = now
        # What was answered counts for the next prompt by its length; its ids are not told.
        answer.ids = self.rng.choices(self.document, k=self.load.answer_tokens)


def run(address, load: Load, text: list[int]) -> tuple[list[Answer], float]:
    """All answers, and how long it took until the last."""
    visits = make_visits(load, text)
    answers: list[Answer] = []
    lock = threading.Lock()
    start = time.monotonic()
    threads = [
        threading.Thread(target=Client(address, load, start, visit, i, answers, lock).run)
        for i, visit in enumerate(visits)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, time.monotonic() - start


def summary(load: Load, answers: list[Answer], seconds: float) -> dict:
    """The figures of a run; times in milliseconds."""
    good = [a for a in answers if not a.error and a.first > 0]
    gaps = [gap for a in good for gap in a.gaps]

    def three(values):
        return {f"p{p}": round(1e3 * client.percentile(values, p / 100), 2) for p in (50, 95, 99)}

    return {
        "load": dataclasses.asdict(load),
        "requests": len(answers),
        "errors": len(answers) - len(good),
        "messages": sorted({a.error for a in answers if a.error})[:5],
        "first_question_ms": three([a.first for a in good if a.question == 0]),
        "later_question_ms": three([a.first for a in good if a.question > 0]),
        "between_tokens_ms": three(gaps),
        "prompt_tokens_per_s": round(sum(a.prompt_tokens for a in good) / seconds, 1),
        "generated_tokens_per_s": round(sum(len(a.gaps) + 1 for a in good) / seconds, 2),
        "hit_share": round(sum(a.hit_tokens for a in good) /
                           max(1, sum(a.prompt_tokens for a in good)), 4),
    }
