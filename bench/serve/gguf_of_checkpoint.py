"""Writes a DeepSeek-V3.2 checkpoint in Hugging Face layout as GGUF, for llama.cpp's server.

    python3 gguf_of_checkpoint.py CHECKPOINT FILE.gguf

Small bf16 or f32 checkpoints in one file: everything is held in memory. Matrices become f16 unless
a value is too large for that, vectors and routers f32.
"""
import json
import pathlib
import struct
import sys

import gguf
import numpy as np

ARCHITECTURE = "deepseek32"


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        raw = data[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        elif entry["dtype"] == "F32":
            values = np.frombuffer(raw, "<f4")
        else:
            raise SystemExit(f"{path}: {name}: {entry['dtype']}, want BF16 or F32")
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def add_config(writer: gguf.GGUFWriter, c: dict) -> None:
    rope, latent = c["qk_rope_head_dim"], c["kv_lora_rank"]
    numbers = {
        "context_length": c["max_position_embeddings"],
        "embedding_length": c["hidden_size"],
        "block_count": c["num_hidden_layers"],
        "leading_dense_block_count": c["first_k_dense_replace"],
        "feed_forward_length": c["intermediate_size"],
        "vocab_size": c["vocab_size"],
        "expert_count": c["n_routed_experts"],
        "expert_used_count": c["num_experts_per_tok"],
        "expert_shared_count": c["n_shared_experts"],
        "expert_feed_forward_length": c["moe_intermediate_size"],
        "expert_group_count": c["n_group"],
        "expert_group_used_count": c["topk_group"],
        "expert_gating_func": 2,  # sigmoid
        "rope.dimension_count": rope,
        "attention.head_count": c["num_attention_heads"],
        "attention.head_count_kv": 1,
        "attention.q_lora_rank": c["q_lora_rank"],
        "attention.kv_lora_rank": latent,
        "attention.key_length": latent + rope,
        "attention.value_length": latent,
        "attention.key_length_mla": c["qk_nope_head_dim"] + rope,
        "attention.value_length_mla": c["v_head_dim"],
        "attention.indexer.head_count": c["index_n_heads"],
        "attention.indexer.key_length": c["index_head_dim"],
        "attention.indexer.top_k": c["index_topk"],
    }
    for name, number in numbers.items():
        writer.add_uint32(f"{ARCHITECTURE}.{name}", number)
    writer.add_float32(f"{ARCHITECTURE}.attention.layer_norm_rms_epsilon", c["rms_norm_eps"])
    writer.add_float32(f"{ARCHITECTURE}.rope.freq_base", c["rope_theta"])
    writer.add_float32(f"{ARCHITECTURE}.expert_weights_scale", c["routed_scaling_factor"])
    writer.add_bool(f"{ARCHITECTURE}.expert_weights_norm", c["norm_topk_prob"])


def add_vocabulary(writer: gguf.GGUFWriter, folder: pathlib.Path, c: dict) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    ids = dict(document["model"]["vocab"])
    special = {entry["content"]: entry["id"] for entry in document["added_tokens"]}
    names = {number: token for token, number in (ids | special).items()}
    texts = [names.get(i, f"<unused {i}>") for i in range(c["vocab_size"])]
    kinds = [gguf.TokenType.UNUSED if i not in names else
             gguf.TokenType.CONTROL if texts[i] in special else gguf.TokenType.NORMAL
             for i in range(c["vocab_size"])]
    merges = document["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-v3")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(c["bos_token_id"])
    writer.add_eos_token_id(c["eos_token_id"])
    writer.add_add_bos_token(False)


PLAIN = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm", "self_attn.o_proj": "attn_output",
    "self_attn.indexer.wq_b": "indexer.attn_q_b", "self_attn.indexer.wk": "indexer.attn_k",
    "self_attn.indexer.k_norm": "indexer.k_norm", "self_attn.indexer.weights_proj": "indexer.proj",
    "mlp.gate": "ffn_gate_inp",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp", "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}


def layer_tensors(tensors: dict[str, np.ndarray], c: dict, layer: int) -> dict[str, np.ndarray]:
    prefix = f"model.layers.{layer}."
    mine = {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}
    out = {}
    for name, peer in PLAIN.items():
        for part in ("weight", "bias"):
            if f"{name}.{part}" in mine:
                out[f"{peer}.{part}"] = mine[f"{name}.{part}"]
    d_nope = c["qk_nope_head_dim"]
    kv_b = mine["self_attn.kv_b_proj.weight"].reshape(
        c["num_attention_heads"], d_nope + c["v_head_dim"], c["kv_lora_rank"])
    out["attn_k_b.weight"] = kv_b[:, :d_nope].transpose(0, 2, 1)
    out["attn_v_b.weight"] = kv_b[:, d_nope:]
    if "mlp.gate.weight" in mine:
        out["exp_probs_b.bias"] = mine["mlp.gate.e_score_correction_bias"]
        for kind in ("gate", "up", "down"):
            out[f"ffn_{kind}_exps.weight"] = np.stack(
                [mine[f"mlp.experts.{e}.{kind}_proj.weight"] for e in range(c["n_routed_experts"])])
    return {f"blk.{layer}.{name}": values for name, values in out.items()}


def stored(name: str, values: np.ndarray) -> np.ndarray:
    plain = values.ndim == 1 or "ffn_gate_inp" in name or np.abs(values).max() > 60000
    return np.ascontiguousarray(values, np.float32 if plain else np.float16)


def write(folder: pathlib.Path, path: pathlib.Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    tensors = read_tensors(folder / "model.safetensors")
    out = {"token_embd.weight": tensors["model.embed_tokens.weight"],
           "output_norm.weight": tensors["model.norm.weight"],
           "output.weight": tensors["lm_head.weight"]}
    for layer in range(config["num_hidden_layers"]):
        out |= layer_tensors(tensors, config, layer)
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    add_config(writer, config)
    add_vocabulary(writer, folder, config)
    for name, values in out.items():
        writer.add_tensor(name, stored(name, values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
