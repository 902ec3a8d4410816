"""A `dsa serve` of one's own on a free port, and what the system tells about its process."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading

import client


def long_model(source: pathlib.Path, folder: pathlib.Path, positions: int) -> pathlib.Path:
    """The checkpoint with more positions than it was trained for: its speed is what counts here."""
    target = folder / "model"
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    config["max_position_embeddings"] = max(positions, config["max_position_embeddings"])
    (target / "config.json").write_text(json.dumps(config))
    return target


class Server:
    """`dsa serve` on a free port of this machine, until the end of the `with`."""

    def __init__(self, program: str, model: pathlib.Path, arguments: list[str]) -> None:
        command = [program, "serve", "-m", str(model), "--port", "0", "-q", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self.port = self.find_port()
        self.address = ("127.0.0.1", self.port, None)
        threading.Thread(target=self.read_on, daemon=True).start()

    def find_port(self) -> int:
        for line in self.process.stderr:
            self.lines.append(line)
            if '"event":"listening"' in line:
                return int(json.loads(line)["url"].rsplit(":", 1)[1])
        raise SystemExit("".join(self.lines) or "dsa serve ended without a word")

    def read_on(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> int:
        """Its exit code, after SIGTERM."""
        self.process.terminate()
        return self.process.wait(60)

    def metrics(self) -> dict[str, float]:
        """{name or name{labels}: value}"""
        _, data = client.get(self.address, "/metrics")
        lines = (line for line in data.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def resources(self) -> dict[str, int]:
        """Open files, threads, and KiB of memory: resident, and of that what is its own."""
        folder = pathlib.Path(f"/proc/{self.process.pid}")
        status = (folder / "status").read_text()

        def field(name: str) -> int:
            found = re.search(rf"{name}:\s+(\d+)", status)
            return int(found[1]) if found else 0
        return {"files": len(os.listdir(folder / "fd")), "threads": field("Threads"),
                "resident": field("VmRSS"), "own": field("RssAnon") + field("VmSwap")}


def text_ids(program: str, model: pathlib.Path, text: pathlib.Path) -> list[int]:
    done = subprocess.run([program, "tokenize", str(model), "-f", str(text), "--json"],
                          check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["ids"]
