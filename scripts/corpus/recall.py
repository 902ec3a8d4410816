#!/usr/bin/env python3
"""usage: recall.py TEXT OUT --words N --longest N --seed N [--shortest N] [--most N]
                 [--vocabulary N] [--kinds KINDS]

Writes documents, of N words together, that can only be predicted by looking back, made of the words
and sentences of the text files in the folder TEXT: a file of each kind in the folder OUT, a line "%%"
after each document. They are between --shortest and --longest words long, each length's double as
often as the length. Each draws at most --most words and names for itself, few as often as many, from
the --vocabulary words that are the most common: where they are few, and others every time, a model
can foresee much by looking back and nothing without.

  lines     a line of few words again and again, now and then from another place in it
  pairs     "river stone; lamb anger; river stone;": words drawn together once, which come back
            later in any order
  repeats   lines of words drawn at random, some of which come back word for word
  passages  the same with passages of the text
  facts     text, between whose sentences stand facts, "The sign of Hannah river.", that come back
            later
  scattered the same with pairs
"""
import argparse
import collections
import copy
import pathlib
import random
import re

END = "%%"        # after a document
SKIPPED = 100     # words as common as "the" are no answers
VOCABULARY = 400  # those that come after them
NAMES = 100
FEWEST = 4        # words or names that a document draws from
LINE = (4, 8)     # words of a line that comes again and again
ASTRAY = 0.06     # of its words are followed by another place in the line


class Source:
    """Words, names and sentences of texts."""

    def __init__(self, texts, vocabulary=VOCABULARY):
        counts = collections.Counter(
            word for text in texts for word in re.findall(r"(?<= )[A-Za-z]{3,}\b", text))
        common = [word for word, _ in counts.most_common()]
        lower = [word for word in common if word.islower()]
        self.words = lower[SKIPPED:SKIPPED + vocabulary]
        names = [word for word in common if word.istitle() and word.lower() not in counts]
        self.names = names[:NAMES]
        self.sentences = [
            [" ".join(s.split()) for s in re.split(r"(?<=[.!?;:])\s+", text) if s.strip()]
            for text in texts]

    def sentence_run(self, rng):
        """Sentences of one text from a place drawn at random, without end."""
        sentences = rng.choice(self.sentences)
        at = rng.randrange(len(sentences))
        while True:
            yield sentences[at % len(sentences)]
            at += 1

    def narrowed(self, rng, most):
        """The same with at most so many words and names, drawn at random."""
        out = copy.copy(self)
        out.words = draw(self.words, rng, most)
        out.names = draw(self.names, rng, most)
        return out


def draw(words, rng, most):
    return rng.sample(words, log_uniform(rng, FEWEST, min(most, len(words))))


def log_uniform(rng, least, most):
    return round(least * (most / least)**rng.random())


def question(name):
    return f"The sign of {name}"


def fact(name, word):
    return f"{question(name)} {word}."


def pair(source, rng, key):
    return f"{key} {rng.choice(source.words)};"


def passage(source, rng, n_words):
    words = []
    for sentence in source.sentence_run(rng):
        words += sentence.split()
        if len(words) >= n_words:
            return " ".join(words[:n_words])


def random_words(source, rng, n_words):
    return " ".join(rng.sample(source.words, min(n_words, len(source.words))))


def lines(source, rng, n_words):
    line = rng.sample(source.words, min(rng.randint(*LINE), len(source.words)))
    out, at = [], 0
    while len(out) < n_words:
        out.append(line[at])
        at = rng.randrange(len(line)) if rng.random() < ASTRAY else (at + 1) % len(line)
    return " ".join(out)


def pairs(source, rng, n_words):
    n = n_words // 2
    keys = rng.sample(source.words, max(2, min(len(source.words), n // rng.randint(2, 6))))
    stated = [pair(source, rng, key) for key in keys]
    return " ".join(stated + rng.choices(stated, k=max(0, n - len(stated))))


def repeats(source, rng, n_words, make=random_words):
    blocks, out, size = [], [], 0
    longest = max(6, min(48, n_words // 3))
    while size < n_words:
        if blocks and rng.random() < 0.6:
            block = rng.choice(blocks[-rng.randint(1, len(blocks)):])  # near ones more often
        else:
            block = make(source, rng, rng.randint(4, longest))
            blocks.append(block)
        out.append(block)
        size += block.count(" ") + 1
    return "\n".join(out)


def passages(source, rng, n_words):
    return repeats(source, rng, n_words, passage)


def between_sentences(source, rng, n_words, stated):
    """Text with the statements between its sentences, each once and then again and again."""
    known, out, size = [], [], 0
    for sentence in source.sentence_run(rng):
        for _ in range(rng.randint(1, 3)):
            fresh = stated and (not known or rng.random() < 0.3)
            if fresh:
                known.append(stated.pop())
            out.append(known[-1] if fresh else rng.choice(known))
            size += out[-1].count(" ") + 1
        out.append(sentence)
        size += sentence.count(" ") + 1
        if size >= n_words:
            return " ".join(out)


def facts(source, rng, n_words):
    names = rng.sample(source.names, max(2, min(len(source.names), n_words // 40)))
    return between_sentences(source, rng, n_words,
                             [fact(name, rng.choice(source.words)) for name in names])


def scattered(source, rng, n_words):
    keys = rng.sample(source.words, max(2, min(len(source.words), n_words // 30)))
    return between_sentences(source, rng, n_words, [pair(source, rng, key) for key in keys])


KINDS = {"lines": lines, "pairs": pairs, "repeats": repeats, "passages": passages, "facts": facts,
         "scattered": scattered}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("text")
    parser.add_argument("out")
    parser.add_argument("--words", type=int, required=True)
    parser.add_argument("--shortest", type=int, default=16)
    parser.add_argument("--longest", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--most", type=int, default=VOCABULARY)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY)
    parser.add_argument("--kinds", default=",".join(KINDS))
    options = parser.parse_args()
    texts = [path.read_text() for path in sorted(pathlib.Path(options.text).glob("*.txt"))]
    source = Source(texts, options.vocabulary)
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    kinds = options.kinds.split(",")
    for kind in kinds:
        rng = random.Random(f"{options.seed} {kind}")
        left = options.words // len(kinds)
        with open(out / f"{kind}.txt", "w", encoding="utf-8") as file:
            while left > 0:
                text = KINDS[kind](source.narrowed(rng, options.most), rng,
                                   log_uniform(rng, options.shortest, options.longest))
                file.write(f" {text}\n{END}\n")
                left -= len(text.split())


if __name__ == "__main__":
    main()
