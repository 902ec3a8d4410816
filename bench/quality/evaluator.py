"""A running quality_eval: questions to one checkpoint."""
import json
import pathlib
import subprocess


class Evaluator:

    def __init__(self, program, checkpoint, max_tokens, threads=0):
        self.name = pathlib.Path(checkpoint).name
        self._process = subprocess.Popen([program, checkpoint, str(max_tokens), str(threads)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        about = self._answer()
        self.layers, self.top_k = about["layers"], about["top_k"]
        self.index_heads, self.max_position = about["index_heads"], about["max_position"]
        self.parameters = about["parameters"]
        self.begin = [] if about["begin"] is None else [about["begin"]]

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"quality: quality_eval ended with {self._process.wait()}")
        return json.loads(line)

    def _ask(self, question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def encode(self, texts):
        """The token ids of each text, and the bytes of each token."""
        answer = self._ask({"op": "encode", "texts": texts})
        return answer["tokens"], answer["bytes"]

    def evaluate(self, tokens, **options):
        """loss and best per token; options: members of EvalOptions (src/backprop/train_model.h)."""
        return self._ask({"op": "evaluate", "tokens": tokens, **options})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
