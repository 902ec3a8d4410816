"""Enlarges a saved llama.cpp sequence: reaching 131,072 tokens by prefilling takes hours.

What llama_state_seq_get_data() writes for a DSA model, little-endian:
  u32 magic, i32 sequence
  and for the cache of latents, then for that of indexer keys:
    u32 streams = 1, u32 cells
    per cell: i32 position, u32 sequences = 1, i32 sequence
    u32 transposed = 0, u32 layers
    keys of every layer: i32 type, u64 bytes of a row, the rows
    values of every layer, where the cache has them: the same
"""

import struct
from collections.abc import Callable, Iterator

import numpy as np

F16, Q8_0 = 1, 8
Rows = Callable[[int, int], np.ndarray]  # (number of rows, bytes of a row) -> their bytes


class Reader:
    """Takes values off a saved state and says which of them were not as expected."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    def take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.offset)
        self.offset += struct.calcsize("<" + layout)
        return values

    def expect(self, layout: str, *wanted: int) -> None:
        found = self.take(layout)
        if found != wanted:
            raise ValueError(f"llama.cpp's saved state holds {found}, not {wanted}: other layout")

    def skip(self, n_bytes: int) -> None:
        self.offset += n_bytes

    def at_end(self) -> bool:
        return self.offset == len(self.data)

    def starts(self, layout: str, *wanted: int) -> bool:
        size = struct.calcsize("<" + layout)
        return self.data[self.offset : self.offset + size] == struct.pack("<" + layout, *wanted)


def blocks(state: Reader, cells: int) -> Iterator[tuple[int, int]]:
    """The (type, bytes of a row) of every block of rows up to the end of this cache."""
    while not state.at_end() and not state.starts("II", 1, cells):
        kind, row_bytes = state.take("iQ")
        state.skip(cells * row_bytes)
        yield kind, row_bytes


def enlarge(small: bytes, cells: int, depth: int, rows: dict[int, Rows]) -> bytes:
    """The state of a sequence of `depth` tokens with random rows, from that of one of `cells`.
    `rows` makes rows of each cache type. Throws where the layout is another than the above."""
    state = Reader(small)
    large = [struct.pack("<Ii", *state.take("Ii"))]
    positions = np.zeros((depth, 3), np.int32)
    positions[:, 0] = np.arange(depth)
    positions[:, 1] = 1
    while not state.at_end():
        state.expect("II", 1, cells)
        for cell in range(cells):
            state.expect("iIi", cell, 1, 0)
        state.expect("I", 0)
        layers = state.take("I")
        large.append(struct.pack("<II", 1, depth))
        large.append(positions.tobytes())
        large.append(struct.pack("<II", 0, *layers))
        for kind, row_bytes in blocks(state, cells):
            large.append(struct.pack("<iQ", kind, row_bytes))
            large.append(rows[kind](depth, row_bytes).tobytes())
    return b"".join(large)


def random_rows(seed: int) -> dict[int, Rows]:
    """Makers of N(0, 1) rows in the cache types measured."""
    random = np.random.default_rng(seed)

    def f16(n: int, row_bytes: int) -> np.ndarray:
        return random.standard_normal((n, row_bytes // 2), np.float32).astype(np.float16)

    def q8_0(n: int, row_bytes: int) -> np.ndarray:  # blocks of one f16 scale and 32 int8
        block = np.dtype([("scale", np.float16), ("values", np.int8, 32)])
        out = np.empty((n, row_bytes // block.itemsize), block)
        out["scale"] = 3 / 127
        values = random.standard_normal(out["values"].shape, np.float32) * np.float32(127 / 3)
        out["values"] = np.clip(values, -127, 127)
        return out

    return {F16: f16, Q8_0: q8_0}
