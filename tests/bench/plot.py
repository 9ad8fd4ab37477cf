"""The plot of docs/performance.md: calls a second by connections, a line a server (SVG)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.bench.report import Measured

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 170, 30, 40
_COLORS = {
    "floor": "#777777",
    "no-log": "#1f77b4",
    "complete": "#d62728",
    "healthchain": "#2ca02c",
    "healthchain-uvloop": "#9467bd",
}


def svg(measured: Sequence[Measured]) -> str:
    """The plot as one SVG document without scripts or fonts of its own."""
    connections = sorted({c for m in measured for c in m.loads})
    top = max(m.at(c).rate for m in measured for c in m.loads) * 1.1
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(connections) - 1, 1)

    def x(i: int) -> float:
        return _LEFT + i * step

    def y(rate: float) -> float:
        return _HEIGHT - _BOTTOM - rate / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img">',
        "<title>Order-sign calls of 23 KB answered a second, two workers</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-weight="bold">Calls a second (23 KB order-sign)</text>',
    ]
    for tick in range(5):
        rate = top * tick / 4
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(rate):.1f}" y2="{y(rate):.1f}" '
            'stroke="#dddddd"/>'
            f'<text x="{_LEFT - 6}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:.0f}</text>'
        )
    for i, c in enumerate(connections):
        parts.append(f'<text x="{x(i):.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{c}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">connections</text>'
    )
    for m, label_y in zip(measured, _label_heights([y(_last(m)) for m in measured]), strict=True):
        color = _COLORS.get(m.name, "#000000")
        points = [(x(connections.index(c)), y(m.at(c).rate)) for c in sorted(m.loads)]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.extend(
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{color}"/>' for px, py in points
        )
        parts.append(
            f'<text x="{points[-1][0] + 8:.1f}" y="{label_y:.1f}" fill="{color}">'
            f"{escape(m.what)}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])


def _last(m: Measured) -> float:
    return m.at(max(m.loads)).rate


def _label_heights(wanted: Sequence[float], apart: float = 14) -> list[float]:
    """Heights close to those wanted with room for a line of text between any two."""
    placed: dict[int, float] = {}
    free_from = 0.0
    for i in sorted(range(len(wanted)), key=lambda i: wanted[i]):
        placed[i] = max(wanted[i] + 4, free_from)
        free_from = placed[i] + apart
    return [placed[i] for i in range(len(wanted))]
