"""The lints of tools/ find what they are for, and nothing in what is right."""
import pathlib
import subprocess
import tempfile
import unittest

from dsa_program import SOURCE_DIR, main

BODY = "  call();\n"
SHORT = """#define MACRO() {{{
// a brace } in a comment, and { another
const char* kText = "}{";
const char* kRaw = R"(
}}}
)";
namespace a {
enum class Kind : unsigned char { kOne };
const int kTable[] = {
""" + "    1,\n" * 70 + """};
class C : public B {
 public:
  explicit C(int x) : a_{x}, b_(x) {}
  int f(const std::string& s = {}) const noexcept { return '{'; }
""" + "  int member = 1;\n" * 70 + """};
}  // namespace a
"""


class FunctionSize(unittest.TestCase):

    def check(self, text):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "x.cc").write_text(text)
            done = subprocess.run([SOURCE_DIR / "tools" / "check_function_size", folder],
                                  capture_output=True, text=True)
            return done.returncode, done.stdout

    def test_tables_classes_comments_and_literals_are_no_functions(self):
        code, out = self.check(SHORT)
        self.assertEqual(code, 0, out)
        self.assertIn("2 functions, 0 too long", out)

    def test_a_function_method_or_lambda_of_61_lines_is_found_and_one_of_60_is_not(self):
        for head in ("void f(int x) {\n", "template <class T>\nauto f(T x = {}) -> int {\n",
                     "class C {\n  bool f() const noexcept {\n", "namespace {\nint f() {\n",
                     "const int kX = [] {\n"):
            own = 0 if head.startswith(("template", "void", "const")) else 1
            n_lines = head.count("\n") - own + 1
            end = "}" + ";\n}" * own + ";\n"
            code, out = self.check(SHORT + head + BODY * (60 - n_lines) + end)
            self.assertEqual(code, 0, head + out)
            code, out = self.check(SHORT + head + BODY * (61 - n_lines) + end)
            self.assertEqual(code, 1, head + out)
            self.assertIn(": 61 lines, want at most 60", out)


if __name__ == "__main__":
    main()
