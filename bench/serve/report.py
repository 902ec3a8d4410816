"""Writes the tables of docs/serving.md and its plots from the figures of a run.

    python3 report.py RESULTS.json DOCUMENT.md
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "report"))
from document import replace_tables, table  # noqa: E402  (their folder comes first)
from plots import plt, save  # noqa: E402

COLOURS = {"memory and disk": "#1f6f8b", "no cache": "#58a4b0", "llama.cpp": "#b04a2f"}


def milliseconds(seconds) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1e3 * seconds:.0f} ms"


def first_token_table(rows: list[dict]) -> str:
    lines = []
    for row in rows:
        again = row["restarted"]
        lines.append([f"{row['tokens']:,}", row["server"], milliseconds(row["first"]),
                      milliseconds(row["second"]), f"{row['first'] / row['second']:.0f} ×",
                      milliseconds(again), f"{row['first'] / again:.0f} ×" if again else ""])
    header = ["document", "server", "first question", "second", "", "after a restart", ""]
    return table(header, lines, "rlrrrrr")


def load_table(rows: list[dict]) -> str:
    lines = []
    for row in rows:
        first, later, gap = (row[name] for name in (
            "first_question_ms", "later_question_ms", "between_tokens_ms"))
        waits = [f"{milliseconds(ms['p50'] / 1e3)} / {milliseconds(ms['p95'] / 1e3)}"
                 for ms in (first, later)]
        lines.append([row["caches"], f"{row['load']['visitors_per_minute']:g}", row["requests"],
                      row["errors"], *waits,
                      f"{gap['p50']:.0f} / {gap['p95']:.0f} / {gap['p99']:.0f} ms",
                      f"{row['generated_tokens_per_s']:.1f}", f"{100 * row['hit_share']:.0f} %"])
    header = ["server", "visitors a minute", "requests", "errors",
              "first token, first question, p50 / p95", "later questions, p50 / p95",
              "between tokens, p50 / p95 / p99", "tokens/s", "of prompts from cache"]
    return table(header, lines, "lrrrrrrrr")


def setting(result: dict) -> str:
    load = result["loads"][0]["load"]
    peer = f" llama.cpp's server is that of {result['peer']}." if "peer" in result else ""
    return (f"`{result['model']}` with more positions than it was trained for, {result['cores']} "
            f"cores, {result['date']}. A visitor brings a document of {load['shortest']:,} to "
            f"{load['longest']:,} tokens, asks {load['questions']} questions and gets "
            f"{load['answer_tokens']} tokens each time; `--max-step-ms "
            f"{result['max_step_ms']:g}`.{peer}")


def plot_loads(rows: list[dict], path: pathlib.Path) -> None:
    figure, all_axes = plt.subplots(1, 3, figsize=(11, 3.8))
    panels = (("first_question_ms", "p50", "first question: first token, p50 (s)"),
              ("later_question_ms", "p50", "later questions: first token, p50 (s)"),
              ("between_tokens_ms", "p99", "between tokens, p99 (s)"))
    for axes, (figure_name, share, title) in zip(all_axes, panels):
        for name, colour in COLOURS.items():
            chosen = [row for row in rows if row["caches"] == name]
            axes.plot([row["load"]["visitors_per_minute"] for row in chosen],
                      [row[figure_name][share] / 1e3 for row in chosen],
                      marker="o", color=colour, label=name)
        axes.set(xlabel="visitors a minute", title=title, yscale="log")
        axes.title.set_size(9)
        axes.grid(True, which="both", alpha=0.25)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="lower center", ncol=5,
                  frameon=False)
    save(figure, path, rect=(0, 0.08, 1, 1))


def plot_first_tokens(rows: list[dict], path: pathlib.Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for name in ("memory and disk", "llama.cpp"):
        chosen = [row for row in rows if row["server"] == name]
        shown = "dsa" if name == "memory and disk" else name
        for key, style in (("first", "-"), ("second", "--"), ("restarted", ":")):
            points = [(row["tokens"], row[key]) for row in chosen if row[key] is not None]
            if points:
                axes.plot(*zip(*points), marker="o", linestyle=style, color=COLOURS[name],
                          label=f"{shown}: {'after a restart' if key == 'restarted' else key}")
    axes.set(xscale="log", yscale="log", xlabel="tokens of the document",
             ylabel="seconds to the first token",
             title="A first and a second question about one document")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    save(figure, path)


def main() -> None:
    figures, document = map(pathlib.Path, sys.argv[1:])
    result = json.loads(figures.read_text())
    plot_loads(result["loads"], figures.parent / "loads.svg")
    plot_first_tokens(result["first_tokens"], figures.parent / "first_tokens.svg")
    document.write_text(replace_tables(document.read_text(), {
        "setting": setting(result),
        "first tokens": first_token_table(result["first_tokens"]),
        "loads": load_table(result["loads"]),
    }))


main()
