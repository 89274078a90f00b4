"""Throughput over time as an SVG: a panel for each event, a line for each contestant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = {"direct": "#6b7280", "haproxy": "#d55e00", "rdsproxy": "#0072b2"}
"""To be told apart by everyone, on white."""
_OTHER = "#111827"
_INK, _GRID = "#1f2937", "#e5e7eb"

COLUMNS = 2
WIDTH, HEIGHT = 430, 150  # of a panel's plot
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 46, 34  # around it
HEAD = 48  # above all panels


@dataclass(frozen=True)
class Line:
    """Writes in each ``bin`` seconds, from ``start`` seconds on; marks are moments, by what they are."""

    name: str
    start: float
    bin: float
    writes: Sequence[int]
    marks: Mapping[str, float]


@dataclass(frozen=True)
class Panel:
    """One event."""

    title: str
    lines: Sequence[Line]


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Return the text of an SVG. Each panel has a time axis of its own, and all have the same height."""
    highest = max((max(line.writes, default=0) for panel in panels for line in panel.lines), default=0) or 1
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * (LEFT + WIDTH + RIGHT), HEAD + rows * (TOP + HEIGHT + BOTTOM)
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="sans-serif" font-size="12" fill="{_INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(LEFT, 20, title, 'font-size="14" font-weight="bold"'),
        *_legend(names),
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        x = column * (LEFT + WIDTH + RIGHT) + LEFT
        y = HEAD + row * (TOP + HEIGHT + BOTTOM) + TOP
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel, highest), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    x = LEFT
    for name in names:
        parts.append(f'<path d="M{x} 36h22" stroke="{_colour(name)}" stroke-width="2.5"/>')
        parts.append(_text(x + 28, 40, name))
        x += 110
    parts.append(f'<path d="M{x} 28v14" stroke="{_INK}"/>')
    parts.append(_text(x + 6, 40, "the event"))
    x += 90
    parts.append(f'<path d="M{x} 28v14" stroke="{_INK}" stroke-dasharray="4 3"/>')
    parts.append(
        _text(
            x + 6, 40, "the new primary takes writes; in return, new connections (each in its colour)"
        )
    )
    return parts


def _panel(panel: Panel, highest: int) -> list[str]:
    first = min((line.start for line in panel.lines), default=-1.0)
    last = max((line.start + line.bin * len(line.writes) for line in panel.lines), default=first)
    last = max(last, first + 1)
    scale = WIDTH / (last - first)

    def across(seconds: float) -> str:
        return f"{(seconds - first) * scale:.1f}"

    def down(writes: float) -> str:
        return f"{HEIGHT - writes / highest * HEIGHT:.1f}"

    parts = [_text(0, -14, panel.title, 'font-weight="bold"')]
    for share in (0, 0.5, 1):
        at = down(highest * share)
        parts.append(f'<path d="M0 {at}H{WIDTH}" stroke="{_GRID}"/>')
        parts.append(_text(-6, float(at) + 4, f"{highest * share:.0f}", 'text-anchor="end"'))
    step = max(1, round((last - first) / 8))
    seconds = (second for second in range(int(first), int(last) + 1) if second % step == 0)
    parts += [_text(float(across(second)), HEIGHT + 16, f"{second} s", 'text-anchor="middle"') for second in seconds]
    parts.append(f'<path d="M{across(0)} -6V{HEIGHT}" stroke="{_INK}"/>')
    for line in panel.lines:
        colour = _colour(line.name)
        for what, moment in line.marks.items():
            if moment > 0:
                parts.append(
                    f'<path d="M{across(moment)} -6V{HEIGHT}" stroke="{colour}" stroke-dasharray="4 3">'
                    f"<title>{escape(line.name)}: {escape(what)}, {moment:.2f} s</title></path>"
                )
        points = " ".join(
            # A bin is drawn at its middle.
            f"{across(line.start + line.bin * (number + 0.5))},{down(count)}"
            for number, count in enumerate(line.writes)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round">'
            f"<title>{escape(line.name)}</title></polyline>"
        )
    return parts


def _colour(name: str) -> str:
    return COLOURS.get(name, _OTHER)


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{" " if more else ""}{more}>{escape(text)}</text>'
