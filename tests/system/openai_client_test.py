"""The official `openai` client against dsa serve. Installs the client from PyPI into the build
directory; without a network DSA_SKIP_PYPI=1 skips this test."""
import json
import tempfile
import unittest

from pypi_client import run_with
from serve_program import Server, long_model

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {
    "type": "object", "properties": {"a": {"type": "string", "enum": ["x", "yz"]},
                                     "b": {"type": "boolean"}}, "required": ["a", "b"]}}}]
MESSAGES = [{"role": "user", "content": "Who made heaven?"}]


def ticket_model():
    import datetime
    import enum
    from typing import List, Optional, Tuple, Union
    from pydantic import BaseModel, Field

    class Kind(str, enum.Enum):
        day = "day"
        night = "night"

    class Seat(BaseModel):
        row: int = Field(ge=1, le=40)
        letter: str = Field(pattern="^[A-F]$")

    class Ticket(BaseModel):
        kind: Kind
        price: float = Field(gt=0, lt=1000)
        leaves: datetime.datetime
        place: Union[Seat, None]
        corner: Tuple[int, bool]
        code: str = Field(min_length=2, max_length=6)
        parts: Optional[List["Ticket"]] = Field(max_length=1)

    return Ticket


class OpenAiClient(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        import openai
        cls.openai = openai
        cls.folder = tempfile.TemporaryDirectory()
        cls.server = Server("--name", "baby-v32", model=long_model(cls.folder.name))
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.server.stop() == 0, cls.server.log
        cls.folder.cleanup()

    def chat(self, **fields):
        return self.client.chat.completions.create(
            model="baby-v32", messages=MESSAGES, **{"max_tokens": 12, "temperature": 0, **fields})

    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], ["baby-v32"])

    def test_chat_and_completion_streamed_or_not(self):
        whole = self.chat()
        self.assertEqual(whole.choices[0].finish_reason, "length")
        self.assertEqual(whole.usage.completion_tokens, 12)
        self.assertEqual(whole.usage.prompt_cache_hit_tokens
                         + whole.usage.prompt_cache_miss_tokens, whole.usage.prompt_tokens)
        parts = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(parts[-1].usage.completion_tokens, 12)
        plain = self.client.completions.create(model="baby-v32", prompt="In the", max_tokens=8,
                                               temperature=0, logprobs=2)
        self.assertEqual("".join(plain.choices[0].logprobs.tokens), plain.choices[0].text)

    def test_logprobs(self):
        content = self.chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
        self.assertEqual(len(content), 12)
        self.assertEqual([len(token.top_logprobs) for token in content], [3] * 12)
        self.assertEqual(content[0].logprob, content[0].top_logprobs[0].logprob)

    def test_tools(self):
        fields = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False,
                  "max_tokens": 300, "temperature": 1, "seed": 1}
        message = self.chat(**fields).choices[0].message
        (call,) = message.tool_calls
        self.assertEqual(call.function.name, "f")
        self.assertEqual(set(json.loads(call.function.arguments)), {"a", "b"})
        arguments = ""
        for part in self.chat(stream=True, **fields):
            for delta in part.choices[0].delta.tool_calls or []:
                arguments += delta.function.arguments
        self.assertEqual(arguments, call.function.arguments)
        with self.client.chat.completions.stream(model="baby-v32", messages=MESSAGES,
                                                 **fields) as stream:
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.tool_calls[0].function.arguments, arguments)

    def test_a_json_schema(self):
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"},
                                                   "kind": {"enum": ["a", "b"]}},
                  "required": ["ok", "kind"], "additionalProperties": False}
        answer = self.chat(max_tokens=200, temperature=2, seed=1, response_format={
            "type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}})
        value = json.loads(answer.choices[0].message.content)
        self.assertIn(value["kind"], ("a", "b"))
        self.assertIsInstance(value["ok"], bool)

    def test_a_pydantic_model(self):
        """Bounds, dates, tuples, unions and a model that contains itself, as parse() sends them."""
        model = ticket_model()
        for seed in range(3):
            answer = self.client.chat.completions.parse(
                model="baby-v32", messages=MESSAGES, max_tokens=2000, temperature=1, seed=seed,
                response_format=model)
            self.assertIsInstance(answer.choices[0].message.parsed, model)

    def test_reasoning(self):
        message = self.chat(reasoning_effort="high").choices[0].message
        self.assertTrue(message.reasoning_content)

    def test_errors_are_the_clients_own(self):
        with self.assertRaises(self.openai.BadRequestError) as caught:
            self.chat(temperature=5)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(self.openai.NotFoundError) as caught:
            self.client.chat.completions.create(model="other", messages=MESSAGES)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(self.openai.BadRequestError) as caught:
            self.client.completions.create(model="baby-v32", prompt="x " * 5000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")


if __name__ == "__main__":
    run_with("openai", "openai-client")
