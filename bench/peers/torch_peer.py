"""PyTorch at the shape of one layer, part by part: plainly written, and the best fused forms."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from common import V32, Key, Sample, Settings, Step, milliseconds

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
BLOCK_BYTES = 1 << 20  # of scores that the blocked indexer keeps in cache
BLOCK_ROWS = 2048  # of latents that the blocked attention keeps in cache

Form = Callable[[], Tensor]


# Indexer scores: q [queries, heads, dim], k [context, dim], gates [queries, heads].


def indexer_naive(q: Tensor, k: Tensor, gates: Tensor) -> Tensor:
    scores = torch.einsum("qhd,td->qht", q, k)
    return (torch.relu(scores) * gates.unsqueeze(-1)).sum(1)


def indexer_blocked(q: Tensor, k: Tensor, gates: Tensor) -> Tensor:
    """A block of keys at a time: the scores of every head never leave the cache."""
    queries, heads, dim = q.shape
    out = q.new_empty(queries, len(k))
    n = max(BLOCK_BYTES // (queries * heads * q.element_size()), 64)
    flat = q.view(queries * heads, dim)
    for start in range(0, len(k), n):
        scores = torch.mm(flat, k[start : start + n].T).relu_().view(queries, heads, -1)
        out[:, start : start + n] = torch.bmm(gates.unsqueeze(1), scores).squeeze(1)
    return out


# Attention: q [queries, heads, d_row], rows of a cache [context, d_row]; the value of a row is its
# latent part. Sparse forms take the rows `selected` [queries, k] for each query.


def attend_naive(q: Tensor, rows: Tensor) -> Tensor:
    scores = torch.einsum("qhd,...td->qht", q, rows) * V32.scale
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype)
    return weights @ rows[..., : V32.d_latent]


def sparse_naive(q: Tensor, cache: Tensor, selected: Tensor) -> Tensor:
    rows = cache[selected]
    scores = torch.einsum("qhd,qtd->qht", q, rows) * V32.scale
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype)
    return weights @ rows[..., : V32.d_latent]


def attend_fused(q: Tensor, rows: Tensor) -> Tensor:
    """All heads share a row, so heads are the queries of one fused attention; that takes the CPU's
    flash kernel only where values are as wide as keys, so the rope part is carried along."""
    rows = rows.reshape(-1, 1, *rows.shape[-2:])
    out = F.scaled_dot_product_attention(q.unsqueeze(1), rows, rows, scale=V32.scale)
    return out.squeeze(1)[..., : V32.d_latent]


def sparse_fused(q: Tensor, cache: Tensor, selected: Tensor) -> Tensor:
    rows = cache.index_select(0, selected.flatten()).view(*selected.shape, -1)
    return attend_fused(q, rows)


def attend_blocked(q: Tensor, rows: Tensor) -> Tensor:
    """One query, a block of rows at a time; the blocks' softmaxes are merged at the end."""
    q = q * V32.scale
    tops, sums, outs = [], [], []
    for block in rows.split(BLOCK_ROWS):
        scores = torch.mm(q, block.T)
        tops.append(scores.amax(-1, keepdim=True))
        weights = scores.sub_(tops[-1]).exp_()
        sums.append(weights.sum(-1, keepdim=True))
        outs.append(torch.mm(weights, block[:, : V32.d_latent]))
    top = torch.stack(tops)
    share = (top - top.amax(0)).exp_()
    return (share * torch.stack(outs)).sum(0) / (share * torch.stack(sums)).sum(0)


def sparse_blocked(q: Tensor, cache: Tensor, selected: Tensor) -> Tensor:
    """A query at a time: its gathered rows stay in cache."""
    rows = cache.new_empty(selected.shape[-1], cache.shape[-1])
    out = q.new_empty(*q.shape[:-1], V32.d_latent)
    for i, chosen in enumerate(selected):
        out[i] = attend_blocked(q[i], torch.index_select(cache, 0, chosen, out=rows))
    return out


# Matrices of the layer, [out, in] as in a checkpoint.


@dataclasses.dataclass(frozen=True)
class Weights:
    q_a: Tensor
    q_b: Tensor
    kv_a: Tensor
    index_q: Tensor
    index_k: Tensor
    index_gate: Tensor
    uk: Tensor
    uv: Tensor
    out: Tensor


@functools.cache
def weights(dtype: torch.dtype) -> Weights:
    s = V32
    shapes = (
        (s.q_lora_rank, s.hidden),
        (s.n_heads * (s.d_nope + s.d_rope), s.q_lora_rank),
        (s.d_row, s.hidden),
        (s.index_heads * s.index_dim, s.q_lora_rank),
        (s.index_dim, s.hidden),
        (s.index_heads, s.hidden),
        (s.n_heads, s.d_nope, s.d_latent),
        (s.n_heads, s.d_latent, s.d_v),
        (s.hidden, s.n_heads * s.d_v),
    )
    return Weights(*(torch.randn(shape, dtype=dtype) * shape[-1] ** -0.5 for shape in shapes))


def projections(x: Tensor, w: Weights) -> Tensor:
    """From the hidden state to queries, keys and gates; norms and RoPE, both small, left out."""
    c_q = F.rms_norm(F.linear(x, w.q_a), (V32.q_lora_rank,))
    q = F.linear(c_q, w.q_b).view(len(x), V32.n_heads, -1)
    F.linear(x, w.kv_a)
    F.linear(c_q, w.index_q)
    F.linear(x, w.index_k)
    F.linear(x, w.index_gate)
    return torch.bmm(q[..., : V32.d_nope].transpose(0, 1), w.uk)


def output(latent: Tensor, w: Weights) -> Tensor:
    values = torch.bmm(latent.transpose(0, 1), w.uv).transpose(0, 1)
    return F.linear(values.reshape(len(latent), -1), w.out)


class Case:
    """Random inputs of one phase, context and type."""

    def __init__(self, queries: int, context: int, dtype: torch.dtype) -> None:
        s = V32
        self.x = torch.randn(queries, s.hidden, dtype=dtype)
        self.index_q = torch.randn(queries, s.index_heads, s.index_dim, dtype=dtype)
        self.index_k = torch.randn(context, s.index_dim, dtype=dtype)
        self.gates = torch.randn(queries, s.index_heads, dtype=dtype) * s.index_heads**-0.5
        self.scores = torch.randn(queries, context, dtype=dtype)
        self.q = torch.randn(queries, s.n_heads, s.d_row, dtype=dtype)
        self.cache = torch.randn(context, s.d_row, dtype=dtype)
        selected = [torch.randperm(context)[: s.top_k].sort().values for _ in range(queries)]
        self.selected = torch.stack(selected)
        self.latent = torch.randn(queries, s.n_heads, s.d_latent, dtype=dtype)
        self.weights = weights(dtype)

    def forms(self, dense: bool) -> Iterator[tuple[str, str, str, Form]]:
        """(attention, part, form, computation) of everything that is measured."""
        k = min(V32.top_k, self.scores.shape[-1])
        yield "dsa", "projections", "linear", lambda: projections(self.x, self.weights)
        yield "dsa", "output", "linear", lambda: output(self.latent, self.weights)
        scoring = (self.index_q, self.index_k, self.gates)
        yield "dsa", "indexer", "naive", lambda: indexer_naive(*scoring)
        yield "dsa", "indexer", "blocked", lambda: indexer_blocked(*scoring)
        indexer_compiled = compiled(indexer_naive)
        yield "dsa", "indexer", "compiled", lambda: indexer_compiled(*scoring)
        yield "dsa", "selection", "naive", lambda: torch.topk(self.scores, k).indices
        unsorted = functools.partial(torch.topk, self.scores, k, sorted=False)
        yield "dsa", "selection", "unsorted", lambda: unsorted().indices
        sparse = (self.q, self.cache, self.selected)
        yield "dsa", "attention", "naive", lambda: sparse_naive(*sparse)
        yield "dsa", "attention", "fused", lambda: sparse_fused(*sparse)
        yield "dsa", "attention", "blocked", lambda: sparse_blocked(*sparse)
        sparse_compiled = compiled(sparse_naive)
        yield "dsa", "attention", "compiled", lambda: sparse_compiled(*sparse)
        if dense:
            yield "dense", "attention", "naive", lambda: attend_naive(self.q, self.cache)
            yield "dense", "attention", "fused", lambda: attend_fused(self.q, self.cache)
            one = self.q[0]
            yield "dense", "attention", "blocked", lambda: attend_blocked(one, self.cache)


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compiled for each shape anew, not for any shape."""
    return torch.compile(function, fullgraph=True, dynamic=False)


def make_steps(settings: Settings, phase: str, context: int, dtype_name: str) -> Iterator[Step]:
    queries = 1 if phase == "decode" else settings.block
    case = Case(queries, context, DTYPES[dtype_name])
    for attention, part, form, work in case.forms(dense=phase == "decode"):
        work()  # compiles what is compiled
        key = Key("pytorch", phase, context, attention, part, f"{form} {dtype_name}")

        def measure(key: Key = key, work: Form = work) -> list[Sample]:
            return [Sample(key, milliseconds(work, settings.seconds) / queries)]

        yield Step(phase, context, measure)


def about() -> str:
    return f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"


def steps(settings: Settings) -> list[Step]:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    torch._dynamo.config.recompile_limit = 64
    return [
        step
        for phase in ("decode", "prefill")
        for context, dtype in itertools.product(settings.contexts(phase), DTYPES)
        for step in make_steps(settings, phase, context, dtype)
    ]
