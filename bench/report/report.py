"""Writes the tables of docs/performance.md and its plots from the figures of `dsa bench`."""
import json
import math
import pathlib
import sys

from document import replace_tables, table
from plots import plt, save

PARTS = ["projections", "indexer", "selection", "attention", "output"]
CONTEXT_PARTS = ["indexer", "selection", "attention"]  # those that grow with the context
PRICE_PER_CORE_HOUR = 0.04  # dollars; a stated assumption of the cost plot


def load(folder, name):
    """(machine, rows) of a measurement; (None, []) when it was not made."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None, []
    document = json.loads(path.read_text())
    return document[0]["machine"], document[1:]


def thousands(number):
    return f"{number:,}"


def machine_text(machine):
    return (f"{machine['cpu']}, {machine['tier']} tier, {machine['threads']} threads, dsa "
            f"{machine['version']} ({machine['commit']}): bf16 "
            f"{machine['bf16_flops'] / 1e9:,.0f} GFLOP/s, int8 {machine['int8_ops'] / 1e9:,.0f} "
            f"GOP/s, f32 {machine['f32_flops'] / 1e9:,.0f} GFLOP/s, memory "
            f"{machine['read_bytes_per_second'] / 1e9:.1f} GB/s streamed and "
            f"{machine['gather_bytes_per_second'] / 1e9:.1f} GB/s in rows of 656 bytes.")


def kernel_table(rows):
    """One line per kernel and shape: efficiency per tier and number of threads."""
    tiers = list(dict.fromkeys(row["tier"] for row in rows))  # fastest first, as measured
    columns = sorted({(row["tier"], row["threads"]) for row in rows},
                     key=lambda key: (tiers.index(key[0]), key[1]))
    cells = {}
    for row in rows:
        cells.setdefault((row["kernel"], row["shape"]), {})[row["tier"], row["threads"]] = row
    lines = []
    for (kernel, shape), found in cells.items():
        first = next(iter(found.values()))
        line = [kernel, shape, f"{first['ms']:.3f}", first["bound"]]
        line += [f"{100 * found[column]['efficiency']:.0f} %" if column in found else ""
                 for column in columns]
        lines.append(line)
    header = ["kernel", "shape", f"ms, {columns[0][0]} {columns[0][1]}T", "bound"]
    header += [f"{tier} {threads}T" for tier, threads in columns]
    return table(header, lines, "llrl" + "r" * len(columns))


def layer_table(rows):
    """DSA and dense at each context, in milliseconds per token."""
    lines = []
    by_mode = {(row["context"], row["attention"]): row for row in rows}
    for context in sorted({row["context"] for row in rows}):
        dsa = by_mode.get((context, "dsa"))
        dense = by_mode.get((context, "dense"))
        grows = [sum(row["parts"][part]["ms"] for part in CONTEXT_PARTS) if row else None
                 for row in (dsa, dense)]
        lines.append([thousands(context), f"{dsa['ms_per_token']:.2f}",
                      *(f"{dsa['parts'][part]['ms']:.2f}" for part in PARTS),
                      f"{100 * dsa['efficiency']:.0f} %",
                      f"{dense['ms_per_token']:.2f}" if dense else "",
                      f"{100 * dense['efficiency']:.0f} %" if dense else "",
                      f"{dense['ms_per_token'] / dsa['ms_per_token']:.1f}" if dense else "",
                      f"{grows[1] / grows[0]:.1f}" if dense else ""])
    header = ["context", "DSA ms", *PARTS, "of limit", "dense ms", "of limit", "dense / DSA",
              "without projections"]
    return table(header, lines, "r" * len(header))


def growth_exponent(rows, attention, low, high):
    """Slope of log time against log context, of the parts that grow with it."""
    points = [(math.log(row["context"]),
               math.log(sum(row["parts"][part]["ms"] for part in CONTEXT_PARTS)))
              for row in rows if row["attention"] == attention and low <= row["context"] <= high]
    if len(points) < 2:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return (sum((x - mean_x) * (y - mean_y) for x, y in points) /
            sum((x - mean_x) ** 2 for x, _ in points))


def growth_table(rows):
    lines = []
    for attention, low, high in (("dense", 8192, 131072), ("dsa", 8192, 131072),
                                 ("dsa", 8192, 1048576)):
        exponent = growth_exponent(rows, attention, low, high)
        if exponent is not None:
            lines.append([attention, f"{thousands(low)} to {thousands(high)}", f"{exponent:.2f}"])
    return table(["attention", "context", "time grows as context^"], lines, "lrr")


def memory_table(rows):
    lines = [[thousands(row["context"]), f"{row['ms_per_token']:.2f}",
              f"{row['parts']['indexer']['ms']:.2f}", f"{row['cache_bytes'] / row['context']:.0f}",
              f"{row['scratch_bytes'] / 2**20:.1f}"] for row in rows if row["attention"] == "dsa"]
    return table(["context", "DSA ms", "indexer ms", "cache bytes per token", "scratch MiB"],
                 lines, "rrrrr")


def model_table(rows):
    lines = [[thousands(row["context"]), row["attention"],
              f"{row['prefill_tokens_per_second']:.1f}", f"{row['decode_tokens_per_second']:.1f}",
              f"{row['peak_memory_bytes'] / 1e9:.2f}"] for row in rows]
    return table(["context", "attention", "prefill tokens/s", "decode tokens/s", "peak GB"], lines,
                 "rlrrr")


def ratio_text(row):
    if row["ratio"] is None:
        return "-"
    spread = f" ({row['ratio_low']:.2g}-{row['ratio_high']:.2g})"
    return f"{row['ratio']:.3g}" + (spread if row["ratio_low"] != row["ratio_high"] else "")


def peers_table(folder):
    """Ratios of peers.json, which bench/peers/run leaves when told so."""
    path = folder / "peers.json"
    if not path.exists():
        return "Not measured."
    document = json.loads(path.read_text())
    rows = []
    for row in document["ratios"]:
        part = row["part"] if row["attention"] == "dsa" else f"{row['attention']} {row['part']}"
        rows.append([row["phase"], thousands(row["context"]), part, f"{row['peer']}, {row['form']}",
                     f"{row['peer_ms']:.3g}", f"{row['our_ms']:.3g}", ratio_text(row)])
    peers = "; ".join(name.split(", CPU")[0] for name in document["machine"]["peers"])
    header = ["phase", "context", "part", "peer and form", "its ms", "our ms", "its / ours"]
    return f"{peers}.\n\n" + table(header, rows, "lrllrrr")


def plot_time(rows, path):
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for attention, colour in (("dense", "#b04a2f"), ("dsa", "#1f6f8b")):
        chosen = [row for row in rows if row["attention"] == attention]
        axes.plot([row["context"] for row in chosen], [row["ms_per_token"] for row in chosen],
                  marker="o", color=colour, label=attention)
        axes.plot([row["context"] for row in chosen], [row["limit_ms"] for row in chosen],
                  linestyle=":", color=colour, label=f"{attention}, limit of the machine")
    axes.set(xscale="log", yscale="log", xlabel="context (tokens)", ylabel="ms per token and layer",
             title="Decode, one attention layer of DeepSeek-V3.2")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    save(figure, path)


def plot_parts(rows, path):
    chosen = [row for row in rows if row["attention"] == "dsa"]
    figure, axes = plt.subplots(figsize=(7, 4.2))
    bottom = [0.0] * len(chosen)
    labels = [f"{row['context'] // 1024}K" for row in chosen]
    for part, colour in zip(PARTS, ("#9aa5b1", "#1f6f8b", "#e0a030", "#b04a2f", "#c9d1d9")):
        heights = [100 * row["parts"][part]["ms"] / row["ms_per_token"] for row in chosen]
        axes.bar(labels, heights, bottom=bottom, label=part, color=colour)
        bottom = [low + height for low, height in zip(bottom, heights)]
    axes.set(xlabel="context (tokens)", ylabel="share of a decode step (%)",
             title="Where a DSA decode step's time goes")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncol=5, frameon=False)
    save(figure, path)


def plot_roofline(rows, machine, path):
    """Share of the binding limit, kernel by kernel, on the fastest tier with all threads."""
    chosen = [row for row in rows
              if row["tier"] == machine["tier"] and row["threads"] == machine["threads"]]
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(chosen) + 1.2))
    colours = {"flops": "#1f6f8b", "int8": "#6b4fa0", "bytes": "#e0a030"}
    names = [f"{row['kernel']} ({row['shape']})" for row in chosen]
    axes.barh(names, [100 * row["efficiency"] for row in chosen],
              color=[colours[row["bound"]] for row in chosen])
    axes.axvline(100, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel="% of the limit (blue: operations, yellow: bytes, violet: int8)",
             title="Kernels compared with the roofline")
    save(figure, path)


def plot_cost(rows, machine, path):
    """Dollars per million decoded tokens of one layer at each position, times 61 layers."""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    layers = 61
    cores = machine["threads"]
    for attention, colour in (("dense", "#b04a2f"), ("dsa", "#1f6f8b")):
        chosen = [row for row in rows if row["attention"] == attention]
        dollars = [row["ms_per_token"] / 3.6e6 * layers * 1e6 * cores * PRICE_PER_CORE_HOUR
                   for row in chosen]
        axes.plot([row["context"] / 1024 for row in chosen], dollars, marker="o", color=colour,
                  label=attention)
    axes.set(xlabel="position (K tokens)", ylabel="$ per million tokens, attention of 61 layers",
             title=f"Cost of decoding against position (${PRICE_PER_CORE_HOUR:.2f} a core-hour)")
    axes.grid(True, alpha=0.25)
    axes.legend()
    save(figure, path)


def main():
    folder, document = map(pathlib.Path, sys.argv[1:])
    machine, kernels = load(folder, "kernels")
    decode_machine, decode = load(folder, "decode")
    _, million = load(folder, "million")
    prefill = load(folder, "prefill")[1] + load(folder, "prefill_long")[1]
    every_context = decode + million
    replaced = replace_tables(document.read_text(), {
        "machine": machine_text(machine),
        "kernels": kernel_table(kernels),
        "decode": layer_table(decode),
        "prefill": layer_table(prefill),
        "glm5": layer_table(load(folder, "glm5")[1]),
        "growth": growth_table(every_context),
        "million": memory_table([row for row in every_context if row["context"] >= 65536]),
        "model": model_table(load(folder, "model")[1]),
        "peers": peers_table(folder),
    })
    document.write_text(replaced)
    plot_time(every_context, folder / "time.svg")
    plot_parts([row for row in every_context if row["context"] >= 4096], folder / "parts.svg")
    plot_roofline(kernels, machine, folder / "roofline.svg")
    plot_cost(decode, decode_machine, folder / "cost.svg")


if __name__ == "__main__":
    main()
