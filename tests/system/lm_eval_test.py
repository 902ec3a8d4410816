"""lm-evaluation-harness against dsa serve: the numbers of dsa perplexity. Installs it from PyPI into
the build directory; without a network DSA_SKIP_PYPI=1 skips this test."""
import json
import math
import os
import pathlib
import tempfile
import unittest

from dsa_program import SOURCE_DIR, succeed_json
from pypi_client import run_with
from serve_program import Server

MODEL = SOURCE_DIR / "models" / "dsa-13m"
TEXTS = ["In the beginning God created the heaven and the earth. And the earth was without form.",
         "The Lord is my shepherd; I shall not want. He maketh me to lie down in green pastures."]


def write_task(folder, name, output, doc, metrics):
    """A task over documents with `context` and `rest`, read from a file beside it."""
    (folder / f"{name}.yaml").write_text(json.dumps({  # JSON is YAML
        "task": name, "dataset_path": "json", "output_type": output, "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(folder / "docs.json")}}, **doc,
        "metric_list": [{"metric": metric} for metric in metrics]}))


class LmEval(unittest.TestCase):

    def loss(self, folder, text):
        """The sum of the losses of all tokens but the first."""
        path = folder / "text.txt"
        path.write_text(text)
        found = succeed_json("perplexity", "-m", MODEL, "-f", path)
        return found["loss"] * found["scored_tokens"]

    def test_loglikelihoods_are_those_of_dsa_perplexity(self):
        with tempfile.TemporaryDirectory() as name, Server(model=MODEL) as server:
            os.environ.update(HF_HOME=name, HF_DATASETS_OFFLINE="1", HF_HUB_OFFLINE="1")
            from lm_eval import simple_evaluate
            from lm_eval.tasks import TaskManager
            folder = pathlib.Path(name)
            firsts = []  # the first token of each text is the context of the rest
            for text in TEXTS:
                ids = server.post("/tokenize", {"prompt": text, "add_special_tokens": False})
                firsts.append(server.post("/detokenize", {"tokens": ids["tokens"][:1]})["prompt"])
            (folder / "docs.json").write_text("\n".join(
                json.dumps({"context": first, "rest": text[len(first):], "text": text})
                for first, text in zip(firsts, TEXTS)))
            write_task(folder, "dsa_rest", "loglikelihood",
                       {"doc_to_text": "{{context}}", "doc_to_target": "{{rest}}",
                        "target_delimiter": ""}, ["perplexity", "acc"])
            write_task(folder, "dsa_text", "loglikelihood_rolling",
                       {"doc_to_text": "", "doc_to_target": "{{text}}"}, ["byte_perplexity"])
            (newline,) = server.post("/tokenize", {"prompt": "\n", "add_special_tokens": False}
                                     )["tokens"]
            results = simple_evaluate(
                model="local-completions", tasks=["dsa_rest", "dsa_text"], batch_size=2,
                model_args={"base_url": server.url + "/v1/completions", "model": "dsa-13m",
                            "tokenizer_backend": "remote", "custom_prefix_token_id": newline},
                task_manager=TaskManager(include_path=name), bootstrap_iters=0)["results"]
            losses = [self.loss(folder, text) for text in TEXTS]
            self.assertAlmostEqual(math.log(results["dsa_rest"]["perplexity,none"]),
                                   sum(losses) / len(losses), delta=2e-2)
            rolled = sum(self.loss(folder, "\n" + text) for text in TEXTS)
            n_bytes = sum(len(text.encode()) for text in TEXTS)
            self.assertAlmostEqual(
                math.log(results["dsa_text"]["byte_perplexity,none"]), rolled / n_bytes, delta=1e-3)


if __name__ == "__main__":
    run_with("lm_eval[api]==0.4.13", "lm-eval")
