"""A checkpoint that says exactly one given text: embeddings are one-hot, blocks add nothing, and the
output matrix maps each token to the one that follows it."""
import array
import json
import pathlib
import struct

SPECIAL = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>",
           "</think>"]
BEGIN, END = 0, 1


def byte_letters():
    """The letter that a byte-level vocabulary spells each byte with."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + n) for n, b in enumerate(others)}}


def pieces_of(text, size=3):
    """The text in pieces of about `size` bytes, each piece once: a token has one successor."""
    data, pieces = text.encode(), []
    while data:
        n = max(size, 2)
        while data[:n] in pieces and n < len(data):
            n += 1
        pieces.append(data[:n])
        data = data[n:]
    assert len(set(pieces)) == len(pieces)
    return pieces


def bf16(value):
    return struct.unpack("<I", struct.pack("<f", value))[0] >> 16


class Puppet:

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def make(self, text, start="</think>"):
        letters = byte_letters()
        spell = lambda data: "".join(letters[b] for b in data)
        vocabulary = {spell(bytes([b])): len(SPECIAL) + b for b in range(256)}
        chain = []
        for piece in pieces_of(text):
            chain.append(vocabulary.setdefault(spell(piece), len(SPECIAL) + len(vocabulary)))
        n_tokens = (len(SPECIAL) + len(vocabulary) + 63) // 64 * 64
        for i in range(len(SPECIAL) + len(vocabulary), n_tokens):
            vocabulary[spell(b"\xff\xfe%d" % i)] = i
        follows = dict(zip([SPECIAL.index(start), *chain], [*chain, END]))
        self.write_documents(vocabulary, n_tokens)
        self.write_weights(follows, n_tokens)
        return self.folder

    def write_documents(self, vocabulary, n_tokens):
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                 "use_regex": False}
        tokens = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                   "normalized": False, "special": True} for i, text in enumerate(SPECIAL)]
        model = {"type": "BPE", "vocab": vocabulary, "merges": []}
        config = {
            "architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32",
            "vocab_size": n_tokens, "hidden_size": n_tokens, "intermediate_size": 64,
            "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
            "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16,
            "v_head_dim": 16, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "tie_word_embeddings": False, "hidden_act": "silu",
            "attention_bias": False, "index_n_heads": 1, "index_head_dim": 32, "index_topk": 64,
            "n_routed_experts": 2, "n_shared_experts": 1, "num_experts_per_tok": 1,
            "moe_intermediate_size": 32, "n_group": 1, "topk_group": 1,
            "routed_scaling_factor": 1.0, "norm_topk_prob": True, "first_k_dense_replace": 1,
            "moe_layer_freq": 1, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
            "bos_token_id": BEGIN, "eos_token_id": END, "torch_dtype": "bfloat16"}
        for name, document in {
                "tokenizer": {"version": "1.0", "added_tokens": tokens, "normalizer": None,
                              "pre_tokenizer": level, "decoder": level, "model": model},
                "config": config,
                "generation_config": {"do_sample": False, "bos_token_id": BEGIN, "eos_token_id": END},
                "tokenizer_config": {"bos_token": SPECIAL[BEGIN], "eos_token": SPECIAL[END]}}.items():
            (self.folder / f"{name}.json").write_text(json.dumps(document))

    def write_weights(self, follows, n):
        embed, head = array.array("H", bytes(2 * n * n)), array.array("H", bytes(2 * n * n))
        for i in range(n):
            embed[i * n + i] = bf16(1)
            head[END * n + i] = bf16(0.5)
        for token, successor in follows.items():
            head[successor * n + token] = bf16(50)
        block = "model.layers.0."
        attention, indexer = block + "self_attn.", block + "self_attn.indexer."
        zeros = {block + "mlp.gate_proj": (64, n), block + "mlp.up_proj": (64, n),
                 block + "mlp.down_proj": (n, 64), attention + "q_a_proj": (32, n),
                 attention + "q_b_proj": (32, 32), attention + "kv_a_proj_with_mqa": (48, n),
                 attention + "kv_b_proj": (32, 32), attention + "o_proj": (n, 16),
                 indexer + "wq_b": (32, 32), indexer + "wk": (32, n),
                 indexer + "weights_proj": (1, n)}
        ones = {"model.norm": n, block + "input_layernorm": n, block + "post_attention_layernorm": n,
                attention + "q_a_layernorm": 32, attention + "kv_a_layernorm": 32,
                indexer + "k_norm": 32}
        tensors = {"model.embed_tokens.weight": ("BF16", (n, n), embed.tobytes()),
                   "lm_head.weight": ("BF16", (n, n), head.tobytes()),
                   indexer + "k_norm.bias": ("F32", (32,), bytes(4 * 32))}
        for name, shape in zeros.items():
            tensors[name + ".weight"] = ("BF16", shape, bytes(2 * shape[0] * shape[1]))
        for name, size in ones.items():
            tensors[name + ".weight"] = ("F32", (size,), array.array("f", [1.0] * size).tobytes())
        header, data = {}, b""
        for name, (dtype, shape, values) in tensors.items():
            header[name] = {"dtype": dtype, "shape": list(shape),
                            "data_offsets": [len(data), len(data) + len(values)]}
            data += values
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        (self.folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
