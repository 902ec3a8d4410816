"""Compares the trainer with PyTorch: ten steps of a small model (--check), tokens/s (default)."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path

try:
    import torch
except ImportError:
    print("skipped: PyTorch is not installed")
    sys.exit(77)  # ctest counts it as skipped

import torch_model as model

HERE = Path(__file__).parent
BOUND = 1e-4  # of losses, and of gradients relative to the tensor's norm


def train_parameters(parameters: model.Parameters, stage: str) -> list[torch.Tensor]:
    for name, x in parameters.items():
        x.requires_grad_(model.is_trained(name, stage))
    return [x for x in parameters.values() if x.requires_grad]


def tiny_config() -> dict:
    config = json.loads((HERE / "default.json").read_text())
    return config | {"vocab_size": 211, "hidden_size": 48, "intermediate_size": 80,
                     "moe_intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
                     "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 24,
                     "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 12,
                     "index_n_heads": 4, "index_head_dim": 16, "index_topk": 24}


def check_stage(program: Path, stage: str) -> bool:
    config, lengths, steps, rate = tiny_config(), [100, 1, 59], 10, 0.02
    parameters = model.random_parameters(config, 0.15, seed=3)
    tokens = torch.randint(config["vocab_size"], (sum(lengths),),
                           generator=torch.Generator().manual_seed(5))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        model.write_checkpoint(path, config, parameters)
        (path / "tokens.i32").write_bytes(array("i", tokens.tolist()).tobytes())
        command = [program, path, stage, str(steps), str(rate), path / "gradients",
                   *map(str, lengths)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        *losses, order = map(json.loads, lines.splitlines())
        gradients = torch.frombuffer(bytearray((path / "gradients").read_bytes()),
                                     dtype=torch.float32)
    optimiser = torch.optim.SGD(train_parameters(parameters, stage), lr=rate, momentum=0.9)
    worst = 0.0
    for i, ours in enumerate(losses):
        optimiser.zero_grad()
        lm, kl = model.step(config, parameters, tokens, lengths, stage)
        for got, want in ((ours["lm"], lm), (ours["index_kl"], kl)):
            worst = max(worst, abs(got - want) / max(abs(want), 1e-6))
        if i + 1 < steps:
            optimiser.step()
    trained = [name for name, x in parameters.items() if x.requires_grad]
    if sorted(trained) != sorted(order["parameters"]):
        print(f"{stage}: trains other parameters than PyTorch")
        return False
    worst_gradient, at, worst_name = 0.0, 0, ""
    for name in order["parameters"]:
        want = parameters[name].grad
        got = gradients[at:at + want.numel()].view_as(want)
        at += want.numel()
        difference = float((got - want).norm() / want.norm().clamp_min(1e-12))
        if not difference <= worst_gradient:
            worst_gradient, worst_name = difference, name
    print(f"{stage}: after {steps} steps, lm {lm:.4f}, KL {kl:.4f}; losses within {worst:.1e}, "
          f"gradients within {worst_gradient:.1e} ({worst_name})")
    return worst <= BOUND and worst_gradient <= BOUND


def torch_rate(config: dict, stage: str, n_tokens: int, repetitions: int) -> tuple[float, float]:
    """Seconds and processor seconds of a step, the best of some."""
    parameters = model.random_parameters(config, 0.02, seed=1)
    trained = train_parameters(parameters, stage)
    tokens = torch.randint(config["vocab_size"], (n_tokens,))
    best = (float("inf"), float("inf"))
    for _ in range(repetitions + 1):
        for x in trained:
            x.grad = None
        wall, processor = time.perf_counter(), time.process_time()
        model.step(config, parameters, tokens, [n_tokens], stage)
        best = min(best, (time.perf_counter() - wall, time.process_time() - processor))
    return best


def compare_rates(program: Path, arguments: argparse.Namespace) -> None:
    config = json.loads((HERE / "default.json").read_text())
    torch.set_num_threads(arguments.threads)
    model.EXACT_TIES = False
    print(f"{arguments.tokens} tokens, {arguments.threads} threads, PyTorch {torch.__version__}")
    print("| stage | dsa tokens/s | of the f32 peak | PyTorch tokens/s | ratio | processor s, dsa | "
          "PyTorch | ratio |\n|---|---|---|---|---|---|---|---|")
    for stage in arguments.stages:
        seconds, processor = torch_rate(config, stage, arguments.tokens, arguments.repetitions)
        command = [program, HERE / "default.json", stage, str(arguments.tokens),
                   str(arguments.threads), str(arguments.repetitions)]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {stage} | {ours['tokens_per_second']} | {ours['share_of_peak']:.0%} | "
              f"{arguments.tokens / seconds:.0f} | {seconds / ours['seconds']:.1f} | "
              f"{ours['cpu_seconds']:.2f} | {processor:.2f} | "
              f"{processor / ours['cpu_seconds']:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, default=Path("build/release/bin"))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--stages", nargs="+", choices=model.STAGES, default=model.STAGES)
    arguments = parser.parse_args()
    if arguments.check:
        results = [check_stage(arguments.bin / "train_steps", stage) for stage in arguments.stages]
        sys.exit(0 if all(results) else 1)
    compare_rates(arguments.bin / "train_bench", arguments)


if __name__ == "__main__":
    main()
