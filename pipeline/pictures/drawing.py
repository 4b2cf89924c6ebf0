"""SVG as text: boxes, arrows and words, the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

INK, PALE, LINE = "#1f2933", "#f5f7fa", "#7b8794"
FONT = "font-family='Helvetica, Arial, sans-serif'"
LETTER = 0.56
"""Mean width of a letter over its size, in these fonts."""


@dataclass(frozen=True)
class BoxShape:
    """A rectangle of a drawing, in pixels.

    Attributes:
        x: Left edge.
        y: Upper edge.
        width: Width.
        height: Height.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> tuple[float, float]:
        """Middle of the right edge."""
        return self.x + self.width, self.y + self.height / 2

    @property
    def top(self) -> tuple[float, float]:
        """Middle of the upper edge."""
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> tuple[float, float]:
        """Middle of the lower edge."""
        return self.x + self.width / 2, self.y + self.height

    @property
    def left(self) -> tuple[float, float]:
        """Middle of the left edge."""
        return self.x, self.y + self.height / 2


@dataclass
class Drawing:
    """Parts of one SVG, in the order in which they lie on one another.

    Attributes:
        width: Width, pixels.
        height: Height, pixels.
        title: What the picture shows, for readers who cannot see it.
        parts: Elements drawn so far.
    """

    width: float
    height: float
    title: str
    parts: list[str] = field(default_factory=list)

    def box(self, shape: BoxShape, fill: str = PALE, *, dashed: bool = False) -> None:
        """A rectangle with round corners."""
        dash = " stroke-dasharray='4 3'" if dashed else ""
        self.parts.append(
            f"<rect x='{shape.x:g}' y='{shape.y:g}' width='{shape.width:g}' height='{shape.height:g}' rx='5' "
            f"fill='{fill}' stroke='{LINE}'{dash}/>"
        )

    def text(
        self, x: float, y: float, words: str, size: float = 13, *, bold: bool = False, anchor: str = "start"
    ) -> None:
        """One line of text whose baseline begins (or with `middle` is centred) at a place."""
        weight = " font-weight='bold'" if bold else ""
        self.parts.append(
            f"<text x='{x:g}' y='{y:g}' font-size='{size:g}' text-anchor='{anchor}' fill='{INK}'{weight}>"
            f"{escape(words)}</text>"
        )

    def lines(self, x: float, y: float, lines: Sequence[str], size: float = 12) -> None:
        """Lines of text, one below the other."""
        for number, line in enumerate(lines):
            self.text(x, y + number * size * 1.35, line, size)

    def arrow(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        *,
        down: bool = False,
        dashed: bool = False,
    ) -> None:
        """A curve from left to right, or from above, that ends in a point."""
        (x1, y1), (x2, y2) = start, end
        dash = " stroke-dasharray='4 3'" if dashed else ""
        if down:
            bend = (y2 - y1) / 2
            curve = f"M{x1:g} {y1:g} C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2 - 2:g}"
        else:
            bend = (x2 - x1) / 2
            curve = f"M{x1:g} {y1:g} C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2 - 2:g} {y2:g}"
        self.parts.append(
            f"<path d='{curve}' fill='none' stroke='{LINE}' stroke-width='1.2' marker-end='url(#point)'{dash}/>"
        )

    def detour(
        self, start: tuple[float, float], end: tuple[float, float], lane: float, *, dashed: bool = False
    ) -> None:
        """A line that leaves sideways, runs down at `lane` (x, pixels) and comes back to its end."""
        dash = " stroke-dasharray='4 3'" if dashed else ""
        point = end[0] - 2 if lane < end[0] else end[0] + 2
        self.parts.append(
            f"<path d='M{start[0]:g} {start[1]:g} H{lane:g} V{end[1]:g} H{point:g}' fill='none' stroke='{LINE}' "
            f"stroke-width='1.2' stroke-linejoin='round' marker-end='url(#point)'{dash}/>"
        )

    def svg(self) -> str:
        """The whole file."""
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width:g} {self.height:g}' "
            f"width='{self.width:g}' height='{self.height:g}' role='img' {FONT}>"
        )
        point = (
            "<defs><marker id='point' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
            f"orient='auto'><path d='M0 0L8 4L0 8z' fill='{LINE}'/></marker></defs>"
        )
        ground = f"<rect width='{self.width:g}' height='{self.height:g}' fill='white'/>"
        return "\n".join(
            [head, f"<title>{escape(self.title)}</title>", point, ground, *self.parts, "</svg>", ""]
        )


def wrapped(words: str, width: float, size: float) -> list[str]:
    """Text in lines that are no wider than a width in pixels."""
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and len(longer) * size * LETTER <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
