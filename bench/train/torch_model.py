"""The trained model in PyTorch, written plainly: scores under a mask, autograd for everything."""

import json
import math
import struct
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

Parameters = dict[str, Tensor]
STAGES = ("pretrain", "warmup", "sparse")
EXACT_TIES = True  # costs a sort where there are ties


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    c, hidden, heads = config, config["hidden_size"], config["num_attention_heads"]
    nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    index_heads, dim = c["index_n_heads"], c["index_head_dim"]
    out = {"model.embed_tokens.weight": (c["vocab_size"], hidden)}

    def mlp(prefix: str, inner: int) -> None:
        out[prefix + "gate_proj.weight"] = (inner, hidden)
        out[prefix + "up_proj.weight"] = (inner, hidden)
        out[prefix + "down_proj.weight"] = (hidden, inner)

    for layer in range(c["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        a = prefix + "self_attn."
        out |= {
            prefix + "input_layernorm.weight": (hidden,),
            a + "q_a_proj.weight": (c["q_lora_rank"], hidden),
            a + "q_a_layernorm.weight": (c["q_lora_rank"],),
            a + "q_b_proj.weight": (heads * (nope + rope), c["q_lora_rank"]),
            a + "kv_a_proj_with_mqa.weight": (c["kv_lora_rank"] + rope, hidden),
            a + "kv_a_layernorm.weight": (c["kv_lora_rank"],),
            a + "kv_b_proj.weight": (heads * (nope + value), c["kv_lora_rank"]),
            a + "o_proj.weight": (hidden, heads * value),
            a + "indexer.wq_b.weight": (index_heads * dim, c["q_lora_rank"]),
            a + "indexer.wk.weight": (dim, hidden),
            a + "indexer.k_norm.weight": (dim,),
            a + "indexer.k_norm.bias": (dim,),
            a + "indexer.weights_proj.weight": (index_heads, hidden),
            prefix + "post_attention_layernorm.weight": (hidden,),
        }
        if layer < c["first_k_dense_replace"]:
            mlp(prefix + "mlp.", c["intermediate_size"])
            continue
        experts, inner = c["n_routed_experts"], c["moe_intermediate_size"]
        out[prefix + "mlp.gate.weight"] = (experts, hidden)
        out[prefix + "mlp.gate.e_score_correction_bias"] = (experts,)
        for expert in range(experts):
            mlp(f"{prefix}mlp.experts.{expert}.", inner)
        mlp(prefix + "mlp.shared_experts.", c["n_shared_experts"] * inner)
    return out | {"model.norm.weight": (hidden,), "lm_head.weight": (c["vocab_size"], hidden)}


def random_parameters(config: dict, deviation: float, seed: int) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    parameters = {}
    for name, shape in shapes(config).items():
        x = torch.randn(shape, generator=generator) * (deviation if len(shape) == 2 else 0.1)
        parameters[name] = x + 1 if name.endswith("norm.weight") else x
    return parameters


def write_checkpoint(path: Path, config: dict, parameters: Parameters) -> None:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, x in parameters.items():
        begin, end = end, end + 4 * x.numel()
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (path / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for x in parameters.values():
            file.write(bytes(x.detach().contiguous().view(torch.uint8).flatten().untyped_storage()))


def is_trained(name: str, stage: str) -> bool:
    if name.endswith("e_score_correction_bias"):
        return False
    return stage == "sparse" or (".indexer." in name) == (stage == "warmup")


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def angles(config: dict, n: int) -> Tensor:
    half = config["qk_rope_head_dim"] // 2
    frequency = config["rope_theta"] ** (-torch.arange(half) / half)
    return torch.outer(torch.arange(n), frequency)


def rope(x: Tensor, angle: Tensor, interleaved: bool) -> Tensor:
    """x: [n, ..., d]; angle: [n, d / 2]."""
    angle = angle.view(len(angle), *(1,) * (x.dim() - 2), -1)
    cos, sin = angle.cos(), angle.sin()
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


def index_scores(c: dict, p: Parameters, a: str, x: Tensor, c_q: Tensor, angle: Tensor) -> Tensor:
    """[n, n]. The Hadamard transform of queries and keys changes no product and is left out."""
    heads, dim, turned = c["index_n_heads"], c["index_head_dim"], c["qk_rope_head_dim"]
    q = F.linear(c_q, p[a + "indexer.wq_b.weight"]).view(len(x), heads, dim)
    k = F.layer_norm(F.linear(x, p[a + "indexer.wk.weight"]), (dim,),
                     p[a + "indexer.k_norm.weight"], p[a + "indexer.k_norm.bias"], 1e-6)
    q = torch.cat((rope(q[..., :turned], angle, False), q[..., turned:]), -1)
    k = torch.cat((rope(k[..., :turned], angle, False), k[..., turned:]), -1)
    gates = F.linear(x, p[a + "indexer.weights_proj.weight"]) * (heads * dim) ** -0.5
    return (torch.relu(torch.einsum("qhd,td->qht", q, k)) * gates.unsqueeze(-1)).sum(1)


def index_kl(target: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    log_q = torch.log_softmax(scores.masked_fill(~mask, -math.inf), -1)
    log_p = target.clamp_min(1e-10).log()
    return torch.where(mask, target * (log_p - log_q), 0).sum()


def select(scores: Tensor, k: int) -> Tensor:
    """torch.topk, but of equal scores, which ReLU makes common, the later token first: its own
    order is not defined."""
    values, best = scores.topk(min(k + 1, scores.shape[-1]), -1)
    if not EXACT_TIES or not (values[:, k - 1] == values[:, -1]).any():
        return best[:, :k]
    order = torch.sort(scores.flip(-1), dim=-1, descending=True, stable=True).indices[:, :k]
    return scores.shape[-1] - 1 - order


def attention(c: dict, p: Parameters, a: str, x: Tensor, stage: str) -> tuple[Tensor, Tensor]:
    n, heads, eps = len(x), c["num_attention_heads"], c["rms_norm_eps"]
    nope, turned, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    angle = angles(c, n)
    c_q = rms_norm(F.linear(x, p[a + "q_a_proj.weight"]), p[a + "q_a_layernorm.weight"], eps)
    q = F.linear(c_q, p[a + "q_b_proj.weight"]).view(n, heads, nope + turned)
    q = torch.cat((q[..., :nope], rope(q[..., nope:], angle, True)), -1).transpose(0, 1)
    latent, k_rope = F.linear(x, p[a + "kv_a_proj_with_mqa.weight"]).split(
        [c["kv_lora_rank"], turned], -1)
    latent = rms_norm(latent, p[a + "kv_a_layernorm.weight"], eps)
    k_nope, v = F.linear(latent, p[a + "kv_b_proj.weight"]).view(n, heads, -1).split(
        [nope, value], -1)
    k_rope = rope(k_rope, angle, True).unsqueeze(1).expand(n, heads, turned)
    k = torch.cat((k_nope, k_rope), -1).transpose(0, 1)
    v = v.transpose(0, 1)
    kl = x.new_zeros(())
    if stage == "pretrain":
        out = F.scaled_dot_product_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0),
                                             is_causal=True).squeeze(0)
    else:
        mask = torch.ones(n, n, dtype=torch.bool).tril()
        scores = index_scores(c, p, a, x.detach(), c_q.detach(), angle)
        if stage == "sparse":
            best = select(scores.detach().masked_fill(~mask, -math.inf), min(c["index_topk"], n))
            mask = mask & torch.zeros_like(mask).scatter(-1, best, True)
        weights = (q @ k.transpose(-1, -2)) * (nope + turned) ** -0.5
        weights = torch.softmax(weights.masked_fill(~mask, -math.inf), -1)
        out = weights @ v
        kl = index_kl(weights.detach().mean(0), scores, mask)
    out = F.linear(out.transpose(0, 1).reshape(n, -1), p[a + "o_proj.weight"])
    return out, kl


def mlp(p: Parameters, prefix: str, x: Tensor) -> Tensor:
    inner = F.silu(F.linear(x, p[prefix + "gate_proj.weight"]))
    inner = inner * F.linear(x, p[prefix + "up_proj.weight"])
    return F.linear(inner, p[prefix + "down_proj.weight"])


def mixture(c: dict, p: Parameters, prefix: str, x: Tensor) -> Tensor:
    scores = torch.sigmoid(F.linear(x, p[prefix + "gate.weight"]))
    choice = scores.detach() + p[prefix + "gate.e_score_correction_bias"]
    chosen = choice.topk(c["num_experts_per_tok"], -1).indices
    weights = scores.gather(-1, chosen)
    weights = weights / weights.sum(-1, keepdim=True) * c["routed_scaling_factor"]
    out = mlp(p, prefix + "shared_experts.", x)
    for expert in range(c["n_routed_experts"]):
        token, slot = (chosen == expert).nonzero(as_tuple=True)
        y = mlp(p, f"{prefix}experts.{expert}.", x[token]) * weights[token, slot].unsqueeze(-1)
        out = out.index_add(0, token, y)
    return out


def document_losses(c: dict, p: Parameters, tokens: Tensor, stage: str) -> tuple[Tensor, Tensor]:
    """Sums of the cross-entropies and of the KLs over layers."""
    x = p["model.embed_tokens.weight"][tokens]
    kl = x.new_zeros(())
    for layer in range(c["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        normed = rms_norm(x, p[prefix + "input_layernorm.weight"], c["rms_norm_eps"])
        out, layer_kl = attention(c, p, prefix + "self_attn.", normed, stage)
        x, kl = x + out, kl + layer_kl
        if stage == "warmup" and layer + 1 == c["num_hidden_layers"]:
            return x.new_zeros(()), kl
        normed = rms_norm(x, p[prefix + "post_attention_layernorm.weight"], c["rms_norm_eps"])
        feed = mlp if layer < c["first_k_dense_replace"] else lambda *a: mixture(c, *a)
        x = x + feed(p, prefix + "mlp.", normed)
    x = rms_norm(x, p["model.norm.weight"], c["rms_norm_eps"])
    logits = F.linear(x[:-1], p["lm_head.weight"])
    return F.cross_entropy(logits, tokens[1:], reduction="sum"), kl


def step(c: dict, p: Parameters, tokens: Tensor, lengths: list[int], stage: str) -> tuple[float, float]:
    """Gradients of the mean losses; returns them: cross-entropy, KL by query and layer."""
    lm, kl = torch.zeros(()), torch.zeros(())
    for part in tokens.split(lengths):
        part_lm, part_kl = document_losses(c, p, part, stage)
        lm, kl = lm + part_lm, kl + part_kl
    n_targets = sum(length - 1 for length in lengths)
    (lm / n_targets + kl / len(tokens)).backward()
    return lm.item() / n_targets, kl.item() / len(tokens) / c["num_hidden_layers"]
