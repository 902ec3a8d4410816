"""Ids of `dsa tokenize` against the `tokenizers` library, which is installed from PyPI into the build
directory; without a network DSA_SKIP_PYPI=1 skips this test."""
import copy
import json
import pathlib
import random
import tempfile
import unittest

from dsa_program import CONFORMANCE, SOURCE_DIR, succeed_json
from pypi_client import run_with

MODEL = SOURCE_DIR / "models" / "dsa-13m"
DEEPSEEK = CONFORMANCE / "tokenizer" / "deepseek_v3_tokenizer.json"
GLM = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
       r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
PARTS = ["'s", "'S", "'\u017f", "'LL", "\r\n", "\n\n", "  ", " ", "\t", "123", "1234567", "\u3000",
         "\u200d", "\u180e", "\u0085", "ab", "Hello", "e\u0301", "a\u0302\u0323", "\uac00",
         "\u1112\u1161\u11ab", "\u65e5\u672c", "\U0001fa77", "\ufb01", "\u212b", "\0", "<q>", "__x"]


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def variants():
    """Tokenizer files over the vocabulary of a small model: name -> JSON."""
    base = json.loads((MODEL / "tokenizer.json").read_text())
    free = max(base["model"]["vocab"].values())
    free = max([free] + [token["id"] for token in base["added_tokens"]]) + 1
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": False}

    def variant(*steps, normalizer=None, tokens=(), **model):
        one = copy.deepcopy(base)
        one["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(steps)}
        one["normalizer"] = normalizer
        one["model"].update(model)
        for i, (content, flags) in enumerate(tokens):
            one["added_tokens"].append({"id": free + i, "content": content, **plain, **flags})
        return one

    glm = split({"Regex": GLM}, "Isolated")
    return {
        "glm": variant(glm, BYTES, ignore_merges=True, tokens=[("[gMASK]", {}), ("<sop>", {})]),
        "behaviors": variant(
            {"type": "Digits", "individual_digits": False}, split({"Regex": r"\s"}, "MergedWithNext"),
            split({"String": "a"}, "MergedWithPrevious", True),
            split({"Regex": r"\p{P}*"}, "Contiguous"), split({"Regex": r"\p{M}"}, "Removed"),
            {**BYTES, "add_prefix_space": True, "use_regex": True}),
        "nfc": variant(glm, BYTES, normalizer={"type": "NFC"}, tokens=[
            ("<q>", {"lstrip": True, "rstrip": True}), ("Hello", {"single_word": True}),
            ("e\u0301", {"normalized": True}), ("\n\n", {}), ("\u65e5", {"lstrip": True})]),
        "nfkd": variant(glm, BYTES, normalizer={"type": "Sequence", "normalizers": [
            {"type": "NFKC"}, {"type": "NFD"}, {"type": "NFKD"}]}),
    }


def random_text(rng, n_parts):
    """Of all planes, most of it such as patterns and normalizers tell apart."""
    def part():
        kind = rng.random()
        if kind < 0.3:
            return rng.choice(PARTS)
        if kind < 0.5:
            return chr(rng.randrange(0x20, 0x7F))
        if kind < 0.8:
            return chr(rng.randrange(0x80, 0x3100))
        code = rng.choice([0, 0, 1, 1, 1, 2, 3, 14, 16]) * 0x10000 + rng.randrange(0x10000)
        return "" if 0xD800 <= code < 0xE000 else chr(code)
    return "".join(part() for _ in range(n_parts))


class Tokenizers(unittest.TestCase):

    def check(self, file, seed):
        import tokenizers
        reference = tokenizers.Tokenizer.from_file(str(file))
        text = random_text(random.Random(seed), 30_000)
        with tempfile.NamedTemporaryFile() as written:
            written.write(text.encode())
            written.flush()
            ids = succeed_json("tokenize", file.parent, "-f", written.name)["ids"]
        want = reference.encode(text, add_special_tokens=False).ids
        first = next((i for i, (a, b) in enumerate(zip(ids, want)) if a != b), min(len(ids), len(want)))
        self.assertEqual(ids[first:first + 8], want[first:first + 8],
                         f"{file.parent.name}, from token {first} on")

    def test_ids_are_the_same_with_every_kind_of_file(self):
        for seed, (name, content) in enumerate(variants().items()):
            with self.subTest(name), tempfile.TemporaryDirectory(suffix=name) as folder:
                file = pathlib.Path(folder) / "tokenizer.json"
                file.write_text(json.dumps(content))
                self.check(file, seed)

    @unittest.skipUnless(DEEPSEEK.exists(), "DeepSeek-V3's tokenizer.json is not there")
    def test_ids_are_the_same_with_the_file_of_deepseek_v3(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "tokenizer.json"
            file.symlink_to(DEEPSEEK)
            self.check(file, 10)


if __name__ == "__main__":
    run_with("tokenizers==0.23.3", "tokenizers")
