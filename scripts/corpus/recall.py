#!/usr/bin/env python3
"""usage: recall.py TEXT OUT --words N --longest N --seed N [--most N] [--kinds KINDS]

Writes documents, of N words together, that can only be predicted by looking back, made of the words
and sentences of the text files in the folder TEXT. They are of four kinds, and between SHORTEST and
--longest words long, each length's double as often as the length. Likewise each draws its words from
the FEWEST to --most most common ones: with few words a model finds out soon how to look back, and
learns the others from there.

  pairs     "river stone; lamb anger; river stone;": words drawn together once, which come back
            later in any order
  repeats   lines of words drawn at random, some of which come back word for word
  passages  the same with passages of the text
  facts     text, between whose sentences stand facts, "The sign of Hannah river.", that come back
            later
"""
import argparse
import collections
import copy
import pathlib
import random
import re

WORDS = slice(100, 500)  # by how common they are: beyond "the", and each a token of its own
NAMES = slice(100)
FEWEST = 16     # words or names that a document draws from
SHORTEST = 16   # words of a document


class Source:
    """Words, names and sentences of texts."""

    def __init__(self, texts):
        counts = collections.Counter(
            word for text in texts for word in re.findall(r"(?<= )[A-Za-z]{3,}\b", text))
        common = [word for word, _ in counts.most_common()]
        lower = [word for word in common if word.islower()]
        self.words = lower[WORDS]
        names = [word for word in common if word.istitle() and word.lower() not in counts]
        self.names = names[NAMES]
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
        """The same with at most so many words and names, the most common ones."""
        out = copy.copy(self)
        out.words = self.words[:log_uniform(rng, FEWEST, min(most, len(self.words)))]
        out.names = self.names[:log_uniform(rng, FEWEST, min(most, len(self.names)))]
        return out


def log_uniform(rng, least, most):
    return round(least * (most / least)**rng.random())


def question(name):
    return f"The sign of {name}"


def fact(name, word):
    return f"{question(name)} {word}."


def passage(source, rng, n_words):
    words = []
    for sentence in source.sentence_run(rng):
        words += sentence.split()
        if len(words) >= n_words:
            return " ".join(words[:n_words])


def random_words(source, rng, n_words):
    return " ".join(rng.sample(source.words, min(n_words, len(source.words))))


def pairs(source, rng, n_words):
    n = n_words // 2
    keys = rng.sample(source.words, max(2, min(len(source.words), n // rng.randint(2, 6))))
    stated = [f"{key} {rng.choice(source.words)};" for key in keys]
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


def facts(source, rng, n_words):
    names = rng.sample(source.names, max(2, min(len(source.names), n_words // 40)))
    stated = [fact(name, rng.choice(source.words)) for name in names]
    known, out, size = [], [], 0
    for sentence in source.sentence_run(rng):
        for _ in range(rng.randint(1, 3)):
            fresh = stated and (not known or rng.random() < 0.3)
            if fresh:
                known.append(stated.pop())
            out.append(known[-1] if fresh else rng.choice(known))
        out.append(sentence)
        size += 10 + sentence.count(" ")
        if size >= n_words:
            return " ".join(out)


KINDS = {"pairs": pairs, "repeats": repeats, "passages": passages, "facts": facts}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("text")
    parser.add_argument("out")
    parser.add_argument("--words", type=int, required=True)
    parser.add_argument("--longest", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--most", type=int, default=400)
    parser.add_argument("--kinds", default=",".join(KINDS))
    options = parser.parse_args()
    texts = [path.read_text() for path in sorted(pathlib.Path(options.text).glob("*.txt"))]
    source = Source(texts)
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    for kind in options.kinds.split(","):
        rng = random.Random(f"{options.seed} {kind}")
        left, i = options.words // len(options.kinds.split(",")), 0
        while left > 0:
            text = KINDS[kind](source.narrowed(rng, options.most), rng,
                               log_uniform(rng, SHORTEST, options.longest))
            (out / f"{kind}-{i:05}.txt").write_text(" " + text + "\n")
            left -= len(text.split())
            i += 1


if __name__ == "__main__":
    main()
