"""dsa bench: its tables and documents, and what must hold of any machine's figures."""
import unittest

from dsa_program import MODEL, run, runnable_tiers, succeed_json

SHAPE = str(MODEL / "config.json")
PARTS = ["projections", "indexer", "selection", "attention", "output"]


class BenchAttention(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.document = succeed_json("bench", "attention", "--shape", SHAPE, "--weights", "bf16",
                                    "--phase", "decode,prefill", "--context", "64,1K", "--chunk",
                                    "32", "--repetitions", "2", "--threads", "2")
        cls.rows = cls.document[1:]

    def row(self, phase, context, attention):
        found = [row for row in self.rows if (row["phase"], row["context"], row["attention"]) ==
                 (phase, context, attention)]
        self.assertEqual(len(found), 1)
        return found[0]

    def test_the_machine_comes_first_with_limits_above_zero(self):
        machine = self.document[0]["machine"]
        self.assertEqual(machine["threads"], 2)
        for limit in ("f32_flops", "bf16_flops", "int8_ops", "read_bytes_per_second",
                      "gather_bytes_per_second"):
            self.assertGreater(machine[limit], 0)
        self.assertGreaterEqual(machine["bf16_flops"], machine["f32_flops"])

    def test_every_combination_is_measured_once_with_all_its_parts(self):
        self.assertEqual(len(self.rows), 8)
        for row in self.rows:
            self.assertEqual(list(row["parts"]), PARTS)
            self.assertGreaterEqual(row["repetitions"], 2)
            self.assertGreater(row["ms_per_token"], 0)
            self.assertAlmostEqual(row["efficiency"], row["limit_ms"] / row["ms_per_token"])
            for name in ("flops", "bytes", "limit_ms"):
                self.assertAlmostEqual(row[name], sum(part[name] for part in row["parts"].values()),
                                       delta=1e-9 * row[name])

    def test_selection_happens_only_where_something_is_left_out(self):
        self.assertFalse(self.row("decode", 64, "dsa")["sparse"])
        self.assertFalse(self.row("decode", 1024, "dense")["sparse"])
        sparse = self.row("decode", 1024, "dsa")
        self.assertTrue(sparse["sparse"])
        self.assertGreater(sparse["parts"]["indexer"]["ms"], 0)
        self.assertGreater(sparse["selection_overlap"], 0.1)
        self.assertLessEqual(sparse["selection_overlap"], 1)

    def test_operations_are_those_of_the_shape(self):
        sparse = self.row("decode", 1024, "dsa")["parts"]
        self.assertEqual(sparse["indexer"]["flops"], 2 * 8 * 128 * 1024)
        self.assertEqual(sparse["attention"]["flops"], 2 * 8 * 64 * (128 + 32 + 128))
        dense = self.row("decode", 1024, "dense")["parts"]
        self.assertEqual(dense["indexer"]["flops"], 0)
        self.assertEqual(dense["attention"]["flops"], 2 * 8 * 1024 * (128 + 32 + 128))

    def test_the_caches_take_what_the_layout_says(self):
        # fp8: 128 codes, one scale and 32 bf16 of rope; 128 codes and a scale of the indexer.
        per_token = 128 + 4 + 2 * 32 + 128 + 4
        self.assertEqual(self.row("decode", 1024, "dsa")["cache_bytes"], 1024 * per_token)


class BenchModel(unittest.TestCase):
    def test_a_checkpoint_and_a_shape_are_measured_at_every_context(self):
        shape = SHAPE + ",layers=2,experts=4,vocab=512"
        for source in (["-m", MODEL], ["--shape", shape, "--weights", "bf16"]):
            with self.subTest(source=source):
                rows = succeed_json("bench", "model", *source, "--context", "64,256",
                                    "--repetitions", "1", "--chunk", "16")[1:]
                self.assertEqual([(row["attention"], row["context"]) for row in rows],
                                 [("dsa", 64), ("dsa", 256), ("dense", 64), ("dense", 256)])
                for row in rows:
                    self.assertGreater(row["prefill_tokens_per_second"], 0)
                    self.assertAlmostEqual(row["decode_tokens_per_second"] *
                                           row["decode_ms_per_token"], 1e3)
                    self.assertGreater(row["peak_memory_bytes"], row["cache_bytes"])
                # Dense engines keep no indexer keys.
                self.assertLess(rows[2]["cache_bytes"], rows[0]["cache_bytes"])


class BenchKernels(unittest.TestCase):
    def test_every_kernel_is_compared_with_the_limit_that_binds_it(self):
        tier = runnable_tiers()[0]
        rows = succeed_json("bench", "kernels", "--tier", tier, "--threads", "1",
                            "--repetitions", "1")[1:]
        self.assertEqual({row["tier"] for row in rows}, {tier})
        kernels = " ".join(row["kernel"] for row in rows)
        for part in ("indexer scores fp8", "top-k", "sparse attention fp8", "dense attention",
                     "matrix x vector", "matrix x matrix"):
            self.assertIn(part, kernels)
        if tier == "avx512":
            self.assertIn("indexer estimates int8", kernels)
        for row in rows:
            self.assertIn(row["bound"], ("flops", "int8", "bytes"))
            self.assertTrue(0.9 < row["recall"] <= 1)
            self.assertAlmostEqual(row["efficiency"], row["limit_ms"] / row["ms"])


class BenchMistakes(unittest.TestCase):
    def test_a_mistake_is_one_line_that_says_what_was_wanted(self):
        for arguments, code, wanted in (
            (["attention", "--shape", "nothing"], 1, "v32, glm5"),
            (["attention", "--context", "4X"], 2, "--context"),
            (["attention", "--context", "1,,2"], 2, "--context"),
            (["attention", "--attention", "dsa,sparse"], 2, "dsa or dense"),
            (["attention", "--phase", ""], 2, "--phase"),
            (["kernels", "--tier", "sse2"], 1, "sse2"),
            (["attention", "--chunk", "8"], 2, "--phase prefill"),
            (["model", "-m", MODEL, "--weights", "bf16"], 2, "--shape"),
            (["model"], 2, "-m DIR or --shape"),
            (["model", "--shape", "v32,layers=0"], 2, "layers=N"),
            ([], 2, "subcommand"),
        ):
            with self.subTest(arguments=arguments):
                found, out, err = run("bench", *arguments)
                self.assertEqual((found, out), (code, b""), err)
                self.assertEqual(len(err.splitlines()), 1, err)
                self.assertIn(wanted, err)


if __name__ == "__main__":
    unittest.main()
