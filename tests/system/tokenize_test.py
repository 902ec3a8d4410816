"""dsa tokenize: text, ids and chat prompts."""
import json
import pathlib
import tempfile
import unittest

from dsa_program import MODEL, SOURCE_DIR, read_safetensors, run, succeed, succeed_json


class Tokenize(unittest.TestCase):

    def test_held_out_text_gives_the_ids_another_implementation_gave(self):
        wanted = list(read_safetensors(MODEL / "expected_fp32.safetensors")["tokens"][1])
        ids = succeed("tokenize", MODEL, "-f", MODEL / "heldout.txt").decode().split()
        self.assertEqual([int(i) for i in ids[:len(wanted)]], wanted)

    def test_ids_give_the_text_back_exactly(self):
        text = "  Grüße, 世界!\n\n\tIn the\r\nbeginning 🙂 "
        ids = succeed("tokenize", "-m", MODEL, stdin=text.encode()).decode()
        self.assertEqual(succeed("tokenize", MODEL, "--ids", ids).decode(), text)
        listed = str([int(i) for i in ids.split()])
        self.assertEqual(succeed("tokenize", MODEL, "--ids", listed).decode(), text)

    def test_option_file_and_standard_input_agree(self):
        text = "In the beginning\n"
        wanted = succeed("tokenize", MODEL, "-p", text)
        self.assertEqual(succeed("tokenize", MODEL, stdin=text.encode()), wanted)
        self.assertEqual(succeed("tokenize", MODEL, "-f", "-", stdin=text.encode()), wanted)
        found = succeed_json("tokenize", MODEL, "-p", text)
        self.assertEqual(found["ids"], [int(i) for i in wanted.split()])
        self.assertEqual("".join(found["tokens"]), text)

    def test_bad_ids_are_named(self):
        for ids, code in (("1 x2", 2), ("1 99999999", 1), ("-1", 1)):
            found, _, err = run("tokenize", MODEL, "--ids=" + ids)
            self.assertEqual((found, err.count("\n")), (code, 1), err)

    def test_messages_become_the_prompt_without_a_model(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "chat.json"
            path.write_text('{"messages": [{"role": "user", "content": "Hi"}]}')
            wanted = "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜></think>"
            self.assertEqual(succeed("tokenize", "--chat", path).decode(), wanted)
            self.assertEqual(succeed_json("tokenize", "--chat", path), {"prompt": wanted})
            found = succeed_json("tokenize", MODEL, "--chat", path)
            self.assertEqual(found["prompt"], wanted)
            self.assertGreater(len(found["ids"]), 3)
            path.write_text('[{"role": "user", "content": "Hi"}]')
            self.assertEqual(succeed("tokenize", "--chat", path).decode(), wanted)

    def test_a_bad_message_is_named(self):
        cases = [('{"messages": [{"role": "bot", "content": "Hi"}]}', "messages[0].role"),
                 ('{"message": []}', "messages"), ("{", "is not JSON: parse error at line 1, "),
                 ('{"messages": [], "tools": []}', "tools: unknown"),
                 ('{"messages": [], "thinking_mod": "chat"}', "thinking_mod: unknown"),
                 ('{"messages": [], "thinking_mode": ' + "[" * 200 + "]" * 200 + "}", "[[[..."),
                 ("[" * 100000 + "]" * 100000, "nested more than 256 levels deep"),
                 ('{"messages": [], "thinking_mode": "deep"}', "thinking_mode"),
                 ('{"messages": [], "drop_thinking": 1}', "drop_thinking")]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "chat.json"
            for text, word in cases:
                with self.subTest(text=text):
                    path.write_text(text)
                    code, out, err = run("tokenize", "--chat", path)
                    self.assertEqual((code, out, err.count("\n")), (1, b"", 1), err)
                    self.assertIn("chat.json: ", err)
                    self.assertIn(word, err)
                    self.assertLess(len(err), 400)

    def test_standard_input_is_named_as_such(self):
        for text in (b"{", b'{"messages": 7}', b"[7]"):
            code, _, err = run("tokenize", "--chat", "-", stdin=text)
            self.assertEqual((code, err.count("\n")), (1, 1), err)
            self.assertTrue(err.startswith("dsa tokenize: standard input: "), err)

    def test_prompts_are_those_of_the_models_authors(self):
        source = SOURCE_DIR / "tests" / "data" / "deepseek_v32_chat_cases.json"
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "chat.json"
            for case in json.loads(source.read_text()):
                with self.subTest(case=case["name"]):
                    path.write_text(json.dumps(case, ensure_ascii=False))
                    self.assertEqual(succeed("tokenize", "--chat", path).decode(), case["prompt"])


if __name__ == "__main__":
    from dsa_program import main
    main()
