"""llama.cpp at the shape of one layer: single decodes and prefill blocks at given depths.

Its parts cannot be timed apart, so a whole step is timed. Only differences between depths mean
something: they cancel the weights, the MLP and the logits.
"""

import ctypes
import itertools
import os
import sys

import llama_cpp
import numpy as np

from common import BASE_CONTEXT, V32, Key, Sample, Settings, Step, milliseconds
from gguf_model import write_model
from llama_state import F16, Q8_0, enlarge, random_rows

N_LAYERS = 2
CACHE_NAMES = {F16: "f16", Q8_0: "q8_0"}
F16_PREFILL_LIMIT = 8192  # beyond, its f16 prefill costs several times its q8_0 prefill


def check(ok: bool, what: str) -> None:
    if not ok:
        raise RuntimeError(f"llama.cpp: {what} failed")


@llama_cpp.llama_log_callback
def print_errors(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    if level == 4:  # GGML_LOG_LEVEL_ERROR
        sys.stderr.buffer.write(text)


class Sequence:
    """A context whose cache holds `depth` random rows; decode() appends tokens and drops them."""

    def __init__(self, model: int, settings: Settings, depth: int, n_tokens: int, kind: int):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = -(-(depth + n_tokens) // 256) * 256
        params.n_batch = params.n_ubatch = max(n_tokens, 4)
        params.n_threads = params.n_threads_batch = settings.threads
        params.type_k = params.type_v = kind
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        self.context = llama_cpp.llama_init_from_model(model, params)
        check(bool(self.context), "llama_init_from_model")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.depth = 0
        self.fill(depth)
        tokens = np.random.default_rng(1).integers(0, 256, n_tokens)
        self.tokens = (llama_cpp.llama_token * n_tokens)(*tokens.tolist())

    def fill(self, depth: int) -> None:
        """Sets the cache to `depth` random rows through the public save and restore calls."""
        few = 3
        self.tokens = (llama_cpp.llama_token * few)(1, 2, 3)
        self.append()
        size = llama_cpp.llama_state_seq_get_size(self.context, 0)
        small = (ctypes.c_uint8 * size)()
        check(llama_cpp.llama_state_seq_get_data(self.context, small, size, 0) == size, "save")
        large = enlarge(bytes(small), few, depth, random_rows(depth))
        view = (ctypes.c_uint8 * len(large)).from_buffer_copy(large)
        read = llama_cpp.llama_state_seq_set_data(self.context, view, len(large), 0)
        check(read == len(large), "restore")
        check(llama_cpp.llama_memory_seq_pos_max(self.memory, 0) == depth - 1, "restore")
        self.depth = depth

    def append(self) -> None:
        batch = llama_cpp.llama_batch_get_one(self.tokens, len(self.tokens))
        check(llama_cpp.llama_decode(self.context, batch) == 0, "llama_decode")

    def decode(self) -> None:
        self.append()
        dropped = llama_cpp.llama_memory_seq_rm(self.memory, 0, self.depth, -1)
        check(dropped, "llama_memory_seq_rm")


def cache_types(phase: str, context: int) -> tuple[int, ...]:
    """The cache types worth timing: which is faster depends on the phase and the context."""
    if phase == "decode":
        return (F16,)
    return (F16, Q8_0) if context <= F16_PREFILL_LIMIT else (Q8_0,)


def make_step(model: int, settings: Settings, phase: str, context: int, kind: int) -> Step:
    n_tokens = 1 if phase == "decode" else settings.block
    sequence = Sequence(model, settings, context, n_tokens, kind)
    key = Key("llama.cpp", phase, context, "dsa", "layer", CACHE_NAMES[kind])

    def measure() -> list[Sample]:
        ms = milliseconds(sequence.decode, settings.seconds)
        return [Sample(key, ms / n_tokens / N_LAYERS)]

    return Step(phase, context, measure)


def about() -> str:
    system = llama_cpp.llama_print_system_info().decode()
    return f"llama.cpp {llama_cpp.llama_version().decode()}, {system}"


def steps(settings: Settings) -> list[Step]:
    llama_cpp.llama_log_set(print_errors, ctypes.c_void_p())
    llama_cpp.llama_backend_init()
    path = os.path.join(settings.work, f"v32-{N_LAYERS}-layers.gguf")
    write_model(path, V32, N_LAYERS)
    model = llama_cpp.llama_model_load_from_file(
        path.encode(), llama_cpp.llama_model_default_params()
    )
    check(bool(model), f"loading {path}")
    return [
        make_step(model, settings, phase, context, kind)
        for phase in ("decode", "prefill")
        if settings.contexts(phase)
        for context in itertools.chain([BASE_CONTEXT], settings.contexts(phase))
        for kind in cache_types(phase, context)
    ]
