"""dsa serve on a disk that is full, damaged, or left in the middle of a write: it loses hits."""
import concurrent.futures
import http.client
import pathlib
import random
import resource
import signal
import tempfile
import threading
import time
import unittest

from dsa_program import MODEL, SANITIZED, run, succeed
from serve_program import WAIT_SECONDS, Server, wait_for

TEXT = (MODEL / "heldout.txt").read_text()
PROMPTS = [TEXT[5000 * i:5000 * i + 700] for i in range(8)]  # each of some pages
LOST = (OSError, http.client.HTTPException)  # what a client sees of a server that dies


def ask(server, prompt):
    return server.complete(prompt, max_tokens=6, temperature=0, logprobs=2)["choices"]


def ask_all(server):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda prompt: ask(server, prompt), PROMPTS))


def page_files(folder):
    """Whole ones and others."""
    found = (p for p in pathlib.Path(folder).glob("*/*") if p.is_file() and not p.is_symlink())
    return sorted(p for p in found if p.name != "about.txt")


def damage(path, rng):
    data = bytearray(path.read_bytes() or rng.randbytes(5000))  # emptied before, never read since
    how = rng.choice(["byte", "bytes", "short", "long", "empty", "noise"])
    if how in ("byte", "bytes"):
        for _ in range(1 if how == "byte" else 100):
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    elif how == "short":
        del data[rng.randrange(len(data)):]
    elif how == "long":
        data += rng.randbytes(rng.randrange(1, 5000))
    else:
        data = rng.randbytes(len(data)) if how == "noise" else b""
    path.write_bytes(data)


class Disk(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        with Server("--quiet", "--no-prefix-cache") as server:
            cls.wanted = ask_all(server)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def serve(self, *args):
        """The pool holds few of the prompts, so that pages go and come."""
        server = Server("--quiet", "--disk-cache", self.folder, "--cache-tokens", 1024, *args)
        self.addCleanup(server.stop, signal.SIGKILL)
        return server

    def test_a_full_disk_costs_hits_until_there_is_room_again(self):
        server = self.serve()
        limits = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (10_000, limits[1]))  # part of a page
        self.assertEqual(ask_all(server), self.wanted)
        wait_for(lambda: server.metrics()["dsa_disk_pending_bytes"] == 0, "writing has ended")
        metrics = server.metrics()
        self.assertGreater(metrics["dsa_disk_errors_total"], 0)
        self.assertEqual((metrics["dsa_disk_pages"], metrics["dsa_disk_bytes"]), (0, 0))
        self.assertEqual(page_files(self.folder), [])
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, limits)

        def is_written():
            self.assertEqual(ask_all(server), self.wanted)
            return server.metrics()["dsa_disk_writes_total"] > 0
        wait_for(is_written, "pages are written again")
        self.assertEqual(server.stop(), 0)
        server = self.serve()
        self.assertEqual(ask_all(server), self.wanted)
        self.assertGreater(server.metrics()["dsa_disk_hits_total"], 0)

    def test_files_damaged_while_the_server_is_down_are_never_used(self):
        server = self.serve()
        self.assertEqual(ask_all(server), self.wanted)
        self.assertEqual(server.stop(), 0)
        for seed in range(1 if SANITIZED else 4):
            rng = random.Random(seed)
            pages = page_files(self.folder)
            self.assertGreaterEqual(len(pages), len(PROMPTS))
            damaged = rng.sample(pages, len(pages) * 3 // 4)
            for page in damaged:
                damage(page, rng)
            one, other = rng.sample(pages, 2)  # whole, under the wrong name
            one.write_bytes(other.read_bytes())
            for name in (pages[0].parent / "about.txt", self.folder / "lock"):
                name.write_bytes(rng.randbytes(100))
            (pages[0].parent / f"{seed:064x}.page").mkdir()
            (pages[0].parent / f"{rng.randbytes(32).hex()}.page").symlink_to("/dev/zero")
            server = self.serve()
            self.assertEqual(ask_all(server), self.wanted)
            self.assertGreater(server.metrics()["dsa_disk_errors_total"], 0)
            self.assertEqual(server.stop(), 0)
        # What nobody read is still there: the tool finds it, and takes it away.
        damage(page_files(self.folder)[0], random.Random(9))
        self.assertEqual(run("cache", "verify", self.folder)[0], 1)
        succeed("cache", "purge", self.folder)
        succeed("cache", "verify", self.folder)

    def test_sigkill_under_load_leaves_a_cache_that_is_whole_and_bounded(self):
        rng = random.Random(1)
        for _ in range(3 if SANITIZED else 8):
            server = self.serve("--disk-cache-mb", 1)
            self.assertFalse([p for p in page_files(self.folder) if p.suffix != ".page"])
            self.assertLessEqual(server.metrics()["dsa_disk_bytes"], 1 << 20)
            load = DeadlyLoad(server, self.wanted, n_before=rng.randrange(12))
            time.sleep(rng.random() / 10)
            server.stop(signal.SIGKILL)
            load.join()
            self.assertEqual(load.wrong, [])
            succeed("cache", "verify", self.folder)
            # One page may have been half written.
            n_bytes = sum(p.stat().st_size for p in page_files(self.folder) if p.suffix == ".page")
            self.assertLessEqual(n_bytes, 1 << 20)
        server = self.serve("--disk-cache-mb", 1)
        self.assertEqual(ask_all(server), self.wanted)
        self.assertEqual(server.metrics()["dsa_disk_errors_total"], 0)
        self.assertEqual(server.stop(), 0)


class DeadlyLoad:
    """Clients that ask until their server is gone. Begins when n_before answers have come."""

    def __init__(self, server, wanted, n_before):
        self.server, self.wanted, self.wrong = server, wanted, []
        self.answered = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self.run, args=(seed,)) for seed in range(8)]
        for thread in self.threads:
            thread.start()
        for _ in range(n_before):
            assert self.answered.acquire(timeout=WAIT_SECONDS), server.log

    def run(self, seed):
        rng = random.Random(seed)
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            number = rng.randrange(len(PROMPTS))
            try:
                found = ask(self.server, PROMPTS[number])
            except LOST:
                return
            except AssertionError as error:
                self.wrong.append(str(error))
                return
            if found != self.wanted[number]:
                self.wrong.append((number, found))
            self.answered.release()

    def join(self):
        for thread in self.threads:
            thread.join()


if __name__ == "__main__":
    from dsa_program import main
    main()
