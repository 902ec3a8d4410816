"""Plots as SVG, readable on light and dark pages: lines and heat maps."""
import math
from html import escape

COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"]
WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 34, 46


def _text(x, y, text, anchor="middle", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(str(text))}</text>'


def _page(width, height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'font-family="sans-serif" font-size="12" fill="#777">\n' + "\n".join(body)
            + "\n</svg>\n")


def _ticks(low, high):
    """Round values from low to high, three to eight."""
    span = (high - low) or 1.0
    power = 10.0**math.floor(math.log10(span))
    step = next(s * power for s in (1, 0.5, 0.2, 0.1) if span / (s * power) >= 3)
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]


def lines(path, title, x_label, y_label, curves, low=None, high=None):
    """curves: {label: [(x, y), ...]}; points that are None are left out."""
    curves = {name: [(x, y) for x, y in points if y is not None] for name, points in curves.items()}
    xs = [x for points in curves.values() for x, _ in points] or [0, 1]
    ys = [y for points in curves.values() for _, y in points] or [0, 1]
    x0, x1 = min(xs), max(xs)
    y0, y1 = min(ys) if low is None else low, max(ys) if high is None else high
    y1 = y1 if y1 > y0 else y0 + 1
    across = lambda x: LEFT + (x - x0) / ((x1 - x0) or 1) * (WIDTH - LEFT - RIGHT)
    down = lambda y: HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
    body = [_text(LEFT, 20, title, "start", 'font-size="14"')]
    for y in _ticks(y0, y1):
        body.append(f'<path d="M{LEFT} {down(y):.1f}H{WIDTH - RIGHT}" stroke="#777" '
                    'stroke-opacity="0.25"/>')
        body.append(_text(LEFT - 6, down(y) + 4, f"{y:.4g}", "end"))
    for x in _ticks(x0, x1):
        body.append(_text(across(x), HEIGHT - BOTTOM + 18, f"{x:,.6g}"))
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label))
    body.append(_text(16, HEIGHT / 2, y_label, "middle", f'transform="rotate(-90 16 {HEIGHT / 2})"'))
    for i, (name, points) in enumerate(curves.items()):
        colour = COLOURS[i % len(COLOURS)]
        d = "L".join(f"{across(x):.1f} {down(min(max(y, y0), y1)):.1f}" for x, y in points)
        if points:
            body.append(f'<path d="M{d}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        y = TOP + 8 + 18 * i
        body.append(f'<path d="M{WIDTH - RIGHT + 12} {y}h18" stroke="{colour}" stroke-width="3"/>')
        body.append(_text(WIDTH - RIGHT + 36, y + 4, name, "start"))
    path.write_text(_page(WIDTH, HEIGHT, body))


def _shade(share):
    """From red over yellow to green."""
    share = min(max(share, 0.0), 1.0)
    ends = [(178, 60, 60), (222, 190, 90), (50, 140, 80)]
    at = share * 2
    a, b = ends[int(at > 1)], ends[1 + int(at > 1)]
    mix = [round(p + (q - p) * (at - int(at > 1))) for p, q in zip(a, b)]
    return "#%02x%02x%02x" % tuple(mix)


CELL_W, CELL_H, LABELS = 34, 24, 64


def _heat_map(x0, y0, name, columns, rows, values):
    body = [_text(x0 + LABELS + len(columns) * CELL_W / 2, y0 + 14, name)]
    for j, (row, line) in enumerate(zip(rows, values)):
        y = y0 + 22 + CELL_H * j
        body.append(_text(x0 + LABELS - 8, y + 16, row, "end"))
        for c, share in enumerate(line):
            if share is None:
                continue
            x = x0 + LABELS + c * CELL_W
            body.append(f'<rect x="{x}" y="{y}" width="{CELL_W - 2}" height="{CELL_H - 2}" '
                        f'fill="{_shade(share)}"/>')
            body.append(_text(x + CELL_W / 2 - 1, y + 15, f"{100 * share:.0f}", "middle",
                              'fill="#fff" font-size="11"'))
    for c, column in enumerate(columns):
        body.append(_text(x0 + LABELS + (c + 0.5) * CELL_W, y0 + 36 + CELL_H * len(rows), column,
                          "middle", 'font-size="10"'))
    return body


def heat(path, title, columns, rows, maps):
    """maps: {label: [[share or None, ...] per row]}; two stand side by side."""
    map_w, map_h = LABELS + len(columns) * CELL_W + 12, 52 + CELL_H * len(rows)
    body = [_text(10, 20, title, "start", 'font-size="14"')]
    for i, (name, values) in enumerate(maps.items()):
        body += _heat_map(i % 2 * map_w, 34 + i // 2 * map_h, name, columns, rows, values)
    path.write_text(_page(2 * map_w, 34 + (len(maps) + 1) // 2 * map_h, body))
