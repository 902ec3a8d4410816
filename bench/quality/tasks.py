"""Recall tasks made of held-out text: something is stated at nine depths of a context and asked for
at its end. The answers are drawn at random, so that the context alone has them."""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts" / "corpus"))
import recall  # noqa: E402  (the path comes first)

DEPTHS = 9
FACTS = 3    # of a depth
PAIRS = 4
PASSAGE_WORDS = 20
CUE_TOKENS = 5  # of a repeated passage are given before it counts


class Task:
    """One context: tokens, and the places whose next token is asked for, by depth."""

    def __init__(self, tokens, asked):
        self.tokens = tokens
        self.asked = asked  # (depth, [index of a token to be foreseen, ...]): one answer each

    def score(self, best):
        """Per depth the answers that are right, and all: best[i] foresees token i + 1."""
        right, count = [0] * DEPTHS, [0] * DEPTHS
        for depth, places in self.asked:
            right[depth] += all(best[i - 1] == self.tokens[i] for i in places)
            count[depth] += 1
        return right, count


def facts(source, rng):
    names = rng.sample(source.names, DEPTHS * FACTS)
    stated, asked = [], []
    for depth in range(DEPTHS):
        here = [(name, rng.choice(source.words)) for name in names[depth::DEPTHS]]
        stated.append(" " + " ".join(recall.fact(*pair) for pair in here))
        asked += [(depth, f" {recall.question(name)}", f" {word}", ".") for name, word in here]
    rng.shuffle(asked)
    return stated, asked


def pairs(source, rng):
    keys = rng.sample(source.words, DEPTHS * PAIRS)
    stated, asked = [], []
    for depth in range(DEPTHS):
        here = [(key, rng.choice(source.words)) for key in keys[depth::DEPTHS]]
        stated.append(" " + " ".join(f"{key} {value};" for key, value in here))
        asked += [(depth, f" {key}", f" {value}", ";") for key, value in here]
    rng.shuffle(asked)
    return stated, asked


def passages(source, rng):
    stated, asked = [], []
    for depth in range(DEPTHS):
        passage = recall.passage(source, rng, PASSAGE_WORDS)
        stated.append(f"\n{passage}\n")
        asked.append((depth, "\n", passage, "\n"))
    rng.shuffle(asked)
    return stated, asked


KINDS = {"facts": facts, "pairs": pairs, "passages": passages}


def make(evaluator, source, kind, length, seed):
    """A context of about `length` tokens, never more; None where the task itself needs more."""
    rng = random.Random(f"{kind} {length} {seed}")
    stated, asked = KINDS[kind](source, rng)
    parts = [part for _, *texts in asked for part in texts]
    encoded, _ = evaluator.encode(stated + parts)
    stated_tokens, parts = encoded[:DEPTHS], encoded[DEPTHS:]
    if sum(map(len, encoded)) + len(evaluator.begin) >= length:
        return None
    filler = _filler(evaluator, source, rng, length, stated_tokens + parts)
    tokens = list(evaluator.begin)
    for depth in range(DEPTHS):
        begin, end = (len(filler) * max(0, depth + i) // (DEPTHS - 1) for i in (-1, 0))
        for sentence in filler[begin:end]:
            tokens += sentence
        tokens += stated_tokens[depth]
    places = []
    for i, (depth, *_) in enumerate(asked):
        question, answer, end = parts[3 * i:3 * i + 3]
        skip = CUE_TOKENS if kind == "passages" else 0
        at = len(tokens) + len(question)
        tokens += question + answer + end
        if skip:
            places += [(depth, [j]) for j in range(at + skip, at + len(answer))]
        else:
            places.append((depth, list(range(at, at + len(answer)))))
    return Task(tokens, places)


def _filler(evaluator, source, rng, length, others):
    """Sentences of the text in order, as tokens, that fill what `others` leave."""
    room = length - len(evaluator.begin) - sum(map(len, others))
    taken = []
    run = source.sentence_run(rng)
    while room > 0:
        for tokens in evaluator.encode([" " + next(run) for _ in range(32)])[0]:
            room -= len(tokens)
            if room < 0:
                break
            taken.append(tokens)
    return taken
