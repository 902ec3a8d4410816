#!/usr/bin/env python3
"""usage: recall.py TEXT OUT --documents N --words N --seed N

Writes documents that can only be predicted by looking back, made of the words and sentences of the
text files in the folder TEXT. Each is of one kind, in turns:

  pairs     "river stone; lamb anger; river stone;": two words a line that were drawn together
            once and come back later in any order
  passages  passages of the text, or words drawn at random, some of which come back word for word
  facts     text, between whose sentences stand facts, "The sign of Hannah: river.", that come back
            later
"""
import argparse
import collections
import pathlib
import random
import re

COMMON_WORDS = 1200  # one token each, as a rule
SHORTEST = 3         # letters


class Source:
    """Words, names and sentences of texts."""

    def __init__(self, texts):
        counts = collections.Counter(
            word for text in texts for word in re.findall(r"(?<= )[A-Za-z]+\b", text))
        common = [word for word, _ in counts.most_common() if len(word) >= SHORTEST]
        lower = [word for word in common if word.islower()]
        self.words = lower[:COMMON_WORDS]
        known = set(lower)
        self.names = [word for word in common if word.istitle() and word.lower() not in known][:400]
        self.sentences = [
            [" ".join(s.split()) for s in re.split(r"(?<=[.!?;:])\s+", text) if s.strip()]
            for text in texts]

    def sentence_run(self, random):
        """Sentences of one text from a place drawn at random, without end."""
        sentences = random.choice(self.sentences)
        at = random.randrange(len(sentences))
        while True:
            yield sentences[at % len(sentences)]
            at += 1


def pairs(source, random, n_words):
    n_keys = max(4, int(n_words / random.choice([6, 8, 12, 16])))
    keys = random.sample(source.words, min(n_keys, len(source.words)))
    values = {}
    lines = []
    for _ in range(n_words // 2):
        fresh = len(values) < len(keys) and (not values or random.random() < 0.4)
        key = keys[len(values)] if fresh else random.choice(keys[:len(values)])
        lines.append(f"{key} {values.setdefault(key, random.choice(source.words))};")
    return " ".join(lines)


def passage(source, random, n_words):
    words = []
    for sentence in source.sentence_run(random):
        words += sentence.split()
        if len(words) >= n_words:
            return " ".join(words[:n_words])


def passages(source, random, n_words):
    blocks, lines, size = [], [], 0
    longest = min(60, n_words // 4)
    while size < n_words:
        if blocks and random.random() < 0.5:
            block = random.choice(blocks)
        elif random.random() < 0.5:
            block = " ".join(random.choices(source.words, k=random.randint(6, longest)))
            blocks.append(block)
        else:
            block = passage(source, random, random.randint(6, longest))
            blocks.append(block)
        lines.append(block)
        size += len(block.split())
    return "\n".join(lines)


def facts(source, random, n_words):
    names = random.sample(source.names, min(len(source.names), max(4, n_words // 40)))
    known, out, size = {}, [], 0
    for sentence in source.sentence_run(random):
        out.append(sentence)
        size += len(sentence.split())
        if size >= n_words:
            break
        for _ in range(random.choice([0, 1, 1, 2])):
            fresh = len(known) < len(names) and (not known or random.random() < 0.35)
            name = names[len(known)] if fresh else random.choice(names[:len(known)])
            out.append(fact(name, known.setdefault(name, random.choice(source.words))))
            size += 5
    return " ".join(out)


def fact(name, word):
    return f"{question(name)} {word}."


def question(name):
    return f"The sign of {name}"


KINDS = {"pairs": pairs, "passages": passages, "facts": facts}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("text")
    parser.add_argument("out")
    parser.add_argument("--documents", type=int, required=True)
    parser.add_argument("--words", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--kinds", default="pairs,passages,facts")
    options = parser.parse_args()
    source = Source([path.read_text() for path in sorted(pathlib.Path(options.text).glob("*.txt"))])
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    kinds = options.kinds.split(",")
    for i in range(options.documents):
        kind = kinds[i % len(kinds)]
        seeded = random.Random(f"{options.seed} {i}")
        text = KINDS[kind](source, seeded, options.words)
        (out / f"{kind}-{options.words}-{i:05}.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
