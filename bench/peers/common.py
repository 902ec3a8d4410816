"""What every peer shares: the shape, the settings of a run, one measured value."""

import dataclasses
import time
from collections.abc import Callable
from statistics import median

BASE_CONTEXT = 64  # "no context": what grows with the context is measured against it


@dataclasses.dataclass(frozen=True)
class Shape:
    """One attention layer of DeepSeek-V3.2; the names are those of docs/shapes.md."""

    hidden: int = 7168
    n_heads: int = 128
    q_lora_rank: int = 1536
    d_latent: int = 512
    d_rope: int = 64
    d_nope: int = 128
    d_v: int = 128
    index_heads: int = 64
    index_dim: int = 128
    top_k: int = 2048

    @property
    def d_row(self) -> int:
        return self.d_latent + self.d_rope

    @property
    def scale(self) -> float:
        return (self.d_nope + self.d_rope) ** -0.5


V32 = Shape()


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, the same for every peer."""

    threads: int
    decode_contexts: tuple[int, ...]
    prefill_contexts: tuple[int, ...]
    block: int  # queries of a prefill block
    work: str  # folder for models and built code
    seconds: float  # least time of one sample

    def contexts(self, phase: str) -> tuple[int, ...]:
        return self.decode_contexts if phase == "decode" else self.prefill_contexts


@dataclasses.dataclass(frozen=True)
class Key:
    """What a measured time belongs to."""

    peer: str
    phase: str  # decode | prefill
    context: int
    attention: str  # dsa | dense
    part: str  # projections | indexer | selection | attention | output | layer
    form: str  # how the peer computes it


@dataclasses.dataclass(frozen=True)
class Sample:
    key: Key
    ms: float  # milliseconds per token and layer


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing a peer can measure on demand; steps of one group run next to each other."""

    phase: str
    context: int
    measure: Callable[[], list[Sample]]


def milliseconds(work: Callable[[], object], least_seconds: float) -> float:
    """Median time of `work` over as many calls as fill `least_seconds`, at least one."""
    times: list[float] = []
    end = time.perf_counter() + least_seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times)
