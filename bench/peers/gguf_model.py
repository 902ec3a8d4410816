"""Writes a GGUF file of random weights whose attention has a given shape, for llama.cpp."""

import math
import os

import gguf
import numpy as np

from common import Shape

ARCHITECTURE = "deepseek32"
VOCABULARY = 256
FEED_FORWARD = 1024  # small: the MLP is not what is measured
MAX_CONTEXT = 163840

Tensors = dict[str, tuple[int, ...]]


def layer_tensors(shape: Shape, layer: int) -> Tensors:
    """Names and [out, in] shapes of one decoder layer with a dense MLP."""
    d_query = shape.d_nope + shape.d_rope
    tensors: Tensors = {
        "attn_norm.weight": (shape.hidden,),
        "attn_q_a.weight": (shape.q_lora_rank, shape.hidden),
        "attn_q_a_norm.weight": (shape.q_lora_rank,),
        "attn_q_b.weight": (shape.n_heads * d_query, shape.q_lora_rank),
        "attn_kv_a_mqa.weight": (shape.d_row, shape.hidden),
        "attn_kv_a_norm.weight": (shape.d_latent,),
        "attn_k_b.weight": (shape.n_heads, shape.d_latent, shape.d_nope),
        "attn_v_b.weight": (shape.n_heads, shape.d_v, shape.d_latent),
        "attn_output.weight": (shape.hidden, shape.n_heads * shape.d_v),
        "indexer.attn_q_b.weight": (shape.index_heads * shape.index_dim, shape.q_lora_rank),
        "indexer.attn_k.weight": (shape.index_dim, shape.hidden),
        "indexer.k_norm.weight": (shape.index_dim,),
        "indexer.k_norm.bias": (shape.index_dim,),
        "indexer.proj.weight": (shape.index_heads, shape.hidden),
        "ffn_norm.weight": (shape.hidden,),
        "ffn_gate.weight": (FEED_FORWARD, shape.hidden),
        "ffn_up.weight": (FEED_FORWARD, shape.hidden),
        "ffn_down.weight": (shape.hidden, FEED_FORWARD),
    }
    return {f"blk.{layer}.{name}": dims for name, dims in tensors.items()}


def add_config(writer: gguf.GGUFWriter, shape: Shape, n_layers: int) -> None:
    numbers = {
        "context_length": MAX_CONTEXT,
        "embedding_length": shape.hidden,
        "block_count": n_layers,
        "leading_dense_block_count": n_layers,  # no mixture of experts
        "feed_forward_length": FEED_FORWARD,
        "vocab_size": VOCABULARY,
        "expert_count": 2,
        "expert_used_count": 1,
        "expert_shared_count": 1,
        "expert_feed_forward_length": 256,
        "expert_gating_func": 2,
        "rope.dimension_count": shape.d_rope,
        "attention.head_count": shape.n_heads,
        "attention.head_count_kv": 1,
        "attention.q_lora_rank": shape.q_lora_rank,
        "attention.kv_lora_rank": shape.d_latent,
        "attention.key_length": shape.d_row,
        "attention.value_length": shape.d_latent,
        "attention.key_length_mla": shape.d_nope + shape.d_rope,
        "attention.value_length_mla": shape.d_v,
        "attention.indexer.head_count": shape.index_heads,
        "attention.indexer.key_length": shape.index_dim,
        "attention.indexer.top_k": shape.top_k,
    }
    for name, number in numbers.items():
        writer.add_uint32(f"{ARCHITECTURE}.{name}", number)
    writer.add_float32(f"{ARCHITECTURE}.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32(f"{ARCHITECTURE}.rope.freq_base", 1e4)
    writer.add_float32(f"{ARCHITECTURE}.expert_weights_scale", 2.5)


def add_vocabulary(writer: gguf.GGUFWriter) -> None:
    """A byte-level vocabulary that is never used: only token ids are decoded."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = {b: chr(b) for b in printable}
    letters |= {b: chr(256 + i) for i, b in enumerate(others)}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-v3")
    writer.add_token_list([letters[b] for b in range(VOCABULARY)])
    writer.add_token_types([gguf.TokenType.NORMAL] * VOCABULARY)
    writer.add_token_merges([f"{letters[32]} t"])


def random_tensor(random: np.random.Generator, name: str, dims: tuple[int, ...]) -> np.ndarray:
    """float16 matrices that keep the variance of what they multiply; float32 vectors near one."""
    values = random.standard_normal(dims, dtype=np.float32)
    if len(dims) == 1:
        return 1 + np.float32(0.01) * values
    spread = 1.0 if name == "token_embd.weight" else dims[-1] ** -0.5
    return (values * np.float32(spread)).astype(np.float16)


def write_model(path: str, shape: Shape, n_layers: int) -> None:
    """Writes the file unless it is there; an interrupted write leaves nothing at `path`."""
    if os.path.exists(path):
        return
    tensors: Tensors = {
        "token_embd.weight": (VOCABULARY, shape.hidden),
        "output_norm.weight": (shape.hidden,),
        "output.weight": (VOCABULARY, shape.hidden),
    }
    for layer in range(n_layers):
        tensors |= layer_tensors(shape, layer)

    writer = gguf.GGUFWriter(path + ".part", ARCHITECTURE)
    add_config(writer, shape, n_layers)
    add_vocabulary(writer)
    for name, dims in tensors.items():
        dtype = np.dtype(np.float32 if len(dims) == 1 else np.float16)
        writer.add_tensor_info(name, dims, dtype, math.prod(dims) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(0)
    for name, dims in tensors.items():
        writer.write_tensor_data(random_tensor(random, name, dims))
    writer.close()
    os.rename(path + ".part", path)
