"""dsa cache: listing, verifying and purging a cache on disk."""
import hashlib
import pathlib
import struct
import tempfile
import unittest

from dsa_program import run, succeed, succeed_json

IDENTITY = "ab" * 32
OTHER = "cd" * 32


def page_file(key, content):
    """A page file, as docs/formats.md describes it."""
    checksum = hashlib.sha256(key + content).digest()
    return b"dsapage1" + key + checksum + struct.pack("<Q", len(content)) + content


def write_pages(folder, identity, n_pages):
    folder = pathlib.Path(folder) / identity
    folder.mkdir()
    (folder / "about.txt").write_text("a \x1b[31mtest\n")
    for i in range(n_pages):
        key = hashlib.sha256(bytes([i])).digest()
        (folder / f"{key.hex()}.page").write_bytes(page_file(key, bytes(1000 + i)))
    return folder


class Cache(unittest.TestCase):

    def test_ls_shows_every_identity_with_its_sizes(self):
        with tempfile.TemporaryDirectory() as folder:
            write_pages(folder, IDENTITY, 3)
            write_pages(folder, OTHER, 1)
            found = succeed_json("cache", "ls", folder)
            self.assertEqual([e["identity"] for e in found["identities"]], [IDENTITY, OTHER])
            self.assertEqual((found["pages"], found["bytes"]), (4, 4 * 1080 + 3))
            self.assertEqual(found["identities"][0]["tokens"], 192)
            out = succeed("cache", "ls", folder).decode()
            self.assertIn(f"{IDENTITY}\n  192 tokens in 3 pages", out)
            self.assertIn("a \\x1b[31mtest", out)
            self.assertRegex(out, r"last used \d{4}-\d\d-\d\dT")

    def test_verify_names_pages_that_changed_and_exits_with_1(self):
        with tempfile.TemporaryDirectory() as folder:
            pages = write_pages(folder, IDENTITY, 3)
            self.assertEqual(succeed_json("cache", "verify", folder)["bad"], [])
            page = sorted(pages.glob("*.page"))[1]
            data = bytearray(page.read_bytes())
            data[500] ^= 1
            page.write_bytes(data)
            code, out, err = run("cache", "verify", folder)
            self.assertEqual((code, err.count("\n")), (1, 1), err)
            self.assertRegex(err, r"^dsa cache: .*: 1 pages are corrupt\n$")
            self.assertIn(page.name, out.decode())
            self.assertIn("2 pages intact", out.decode())

    def test_purge_frees_one_identity_or_all_and_leaves_other_files(self):
        with tempfile.TemporaryDirectory() as folder:
            write_pages(folder, IDENTITY, 3)
            write_pages(folder, OTHER, 1)
            (pathlib.Path(folder) / "notes").write_text("x")
            freed = succeed_json("cache", "purge", folder, "--identity", OTHER)
            self.assertEqual(freed, {"freed_bytes": 1080})
            self.assertEqual(succeed("cache", "purge", folder), b"3.2 kB freed\n")
            self.assertEqual([p.name for p in pathlib.Path(folder).iterdir()], ["notes"])

    def test_mistakes_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            for args, code, words in [
                    (["ls", folder + "/nowhere"], 1, "nowhere"),
                    (["purge", folder, "--identity", OTHER], 1, OTHER),
                    (["ls", folder, "--identity", OTHER], 2, "--identity"),
                    (["shrink", folder], 2, "shrink"),
                    (["ls"], 2, "DIR")]:
                with self.subTest(args=args):
                    got, out, err = run("cache", *args)
                    self.assertEqual((got, out, err.count("\n")), (code, b"", 1), err)
                    self.assertIn(words, err)


if __name__ == "__main__":
    from dsa_program import main
    main()
