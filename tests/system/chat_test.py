"""dsa run --chat: turns over standard input."""
import json
import tempfile
import unittest

from dsa_program import MODEL, glm_model, run, succeed, succeed_json

CHAT = ["run", "-m", MODEL, "--chat", "--temperature", "0", "-n", "12"]


class Chat(unittest.TestCase):

    def test_each_line_is_a_turn_and_only_what_is_new_is_read(self):
        turns = succeed_json(*CHAT, stdin=b"Who made heaven?\nAnd the earth?\n\nWhy?\n")["turns"]
        self.assertEqual(len(turns), 3)
        self.assertEqual(turns[0]["reused_tokens"], 0)
        for before, turn in zip(turns, turns[1:]):
            held = before["prompt_tokens"] + len(before["ids"]) - 1
            self.assertEqual(turn["reused_tokens"], held)

    def test_a_kept_cache_gives_the_text_of_a_cache_built_anew(self):
        # With a stop string the cache holds more than the conversation, so the next turn starts
        # anew; without one it goes on. The first answer is the same text either way.
        first, second = succeed_json(*CHAT, stdin=b"Who?\nWhy?\n")["turns"]
        cut = first["text"][4:9]
        anew = succeed_json(*CHAT, "--stop", cut, stdin=b"Who?\nWhy?\n")["turns"]
        self.assertEqual(anew[1]["reused_tokens"], 0)
        self.assertEqual(first["text"].split(cut)[0], anew[0]["text"])
        self.assertGreater(second["reused_tokens"], 0)

    def test_the_system_message_and_thinking_reach_the_prompt(self):
        plain = succeed_json(*CHAT, stdin=b"Hi\n")["turns"][0]["prompt_tokens"]
        asked = succeed_json(*CHAT, "--system", "Be brief.", stdin=b"Hi\n")["turns"][0]
        self.assertGreater(asked["prompt_tokens"], plain)
        self.assertEqual(len(succeed_json(*CHAT, "--thinking", stdin=b"Hi\nHo\n")["turns"]), 2)

    def test_answers_go_to_standard_output_and_the_report_to_standard_error(self):
        code, out, err = run(*CHAT, stdin=b"Who made heaven?\n")
        self.assertEqual(code, 0)
        text = succeed_json(*CHAT, stdin=b"Who made heaven?\n")["turns"][0]["text"]
        self.assertEqual(out.decode(), text + "\n")
        self.assertRegex(err, r"^\[prefill [\d,]+ tokens .*\]\n$")

    def test_no_input_is_a_conversation_without_turns(self):
        self.assertEqual(succeed(*CHAT), b"")

    def test_a_conversation_beyond_the_context_ends_with_an_error(self):
        code, _, err = run(*CHAT, "--ctx", "64", "-q", stdin=b"Who made heaven and earth?\n" * 9)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^dsa run: conversation: \d+ tokens, want at most 63 .*--ctx")
        code, out, err = run(*CHAT, "--ctx", "110", "--json", "-q", stdin=b"Who made heaven?\n" * 9)
        self.assertEqual((code, err.count("\n")), (1, 1))
        self.assertGreater(len(json.loads(out)["turns"]), 0)

    def test_explain_is_in_every_turn_also_in_json(self):
        turns = succeed_json(*CHAT, "--explain", "2", stdin=b"Who?\nWhy?\n")["turns"]
        for turn in turns:
            self.assertEqual([len(layer["best"]) for layer in turn["explain"]], [2] * 6)
        self.assertGreater(turns[1]["explain"][0]["position"], turns[0]["explain"][0]["position"])

    def test_a_zero_byte_neither_ends_nor_joins_messages(self):
        plain = succeed_json(*CHAT, stdin=b"Who?\nWhy?\n")["turns"]
        found = succeed_json(*CHAT, stdin=b"Wh\0o?\nWhy?\n\0\n")["turns"]
        self.assertEqual(len(found), 3)
        self.assertGreater(found[0]["prompt_tokens"], plain[0]["prompt_tokens"])

    def test_a_model_whose_encoding_is_not_known_is_refused_and_still_completes(self):
        with tempfile.TemporaryDirectory() as folder:
            glm = glm_model(folder)
            code, out, err = run("run", "-m", glm, "--chat", stdin=b"Who?\n")
            self.assertEqual((code, out, err.count("\n")), (1, b"", 1), err)
            self.assertRegex(err, r'^dsa run: --chat: model_type: "glm_moe_dsa", want "deepseek_v32" '
                                  r".*\(dsa run -p or -f\)$")
            self.assertTrue(succeed("run", "-m", glm, "-p", "Who?", "-n", 4, "-q"))

    def test_a_prompt_with_chat_is_a_usage_error(self):
        self.assertEqual(run(*CHAT, "-p", "x")[0], 2)


if __name__ == "__main__":
    from dsa_program import main
    main()
