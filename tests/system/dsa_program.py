"""What the system tests share: the program under test, its model, a safetensors reader."""
import array
import json
import os
import pathlib
import struct
import subprocess
import sys
import unittest

PROGRAM = os.environ["DSA_PROGRAM"]
SOURCE_DIR = pathlib.Path(os.environ["DSA_SOURCE_DIR"])
MODEL = SOURCE_DIR / "tests" / "checkpoints" / "baby-v32"
CONFORMANCE = SOURCE_DIR.parent / "shared" / "conformance"
IN_FLOAT = ["--kv-cache", "f32", "--index-cache", "f32"]
SANITIZED = bool(os.environ.get("DSA_SANITIZE"))  # slower, and memory is not the program's own
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def run(*args, stdin=b"", env=None, timeout=300):
    """Runs `dsa ARGS`; gives exit code, stdout (bytes) and stderr (text)."""
    done = subprocess.run([PROGRAM, *map(str, args)], input=stdin, capture_output=True,
                          timeout=timeout, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr.decode()


def succeed(*args, **kwargs):
    """stdout of a run that must exit with 0."""
    code, out, err = run(*args, **kwargs)
    if code != 0:
        raise AssertionError(f"dsa {' '.join(map(str, args))}: exit code {code}\n{err}")
    return out


def succeed_json(*args, **kwargs):
    """The one JSON document that a run with --json printed."""
    return json.loads(succeed(*args, "--json", **kwargs))


def runnable_tiers():
    return succeed_json("cpu", env={"DSA_CPU_TIER": ""})["runnable"]


def read_safetensors(path):
    """{name: (shape, array of i32 or f32)}"""
    data = pathlib.Path(path).read_bytes()
    (n_header,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + n_header])
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        begin, end = info["data_offsets"]
        values = array.array({"F32": "f", "I32": "i"}[info["dtype"]])
        values.frombytes(data[8 + n_header + begin:8 + n_header + end])
        tensors[name] = (info["shape"], values)
    return tensors


def write_safetensors(path, tensors):
    """tensors: {name: (shape, array of i32 or f32)}"""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        begin = len(data)
        data += values.tobytes()
        header[name] = {"dtype": {"f": "F32", "i": "I32"}[values.typecode], "shape": list(shape),
                        "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def model_with(folder, **documents):
    """A copy of the model in `folder` (links), with files like config="..." written anew."""
    folder = pathlib.Path(folder)
    for path in MODEL.iterdir():
        if path.stem not in documents:
            (folder / path.name).symlink_to(path)
    for stem, document in documents.items():
        (folder / f"{stem}.json").write_text(json.dumps(document))
    return folder


def glm_model(folder):
    """The model, called GLM-5 in its configuration: its weights do as well."""
    config = json.loads((MODEL / "config.json").read_text())
    return model_with(folder, config={**config, "model_type": "glm_moe_dsa",
                                      "architectures": ["GlmMoeDsaForCausalLM"]})


def largest_difference(left, right):
    """max |a - b|; infinite when anything is not a number or the lengths differ."""
    if len(left) != len(right):
        return float("inf")
    differences = [abs(a - b) for a, b in zip(left, right)]
    if any(not d <= 3e38 for d in differences):
        return float("inf")
    return max(differences)


def main():
    """Runs the tests of the calling file; exits with 77 when every one was skipped."""
    result = unittest.main(module="__main__", exit=False, verbosity=2).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun == len(result.skipped) else 0)
