"""How the tour draws: bars, highlighted text, and a subgraph as a tree. Pure: text in, text out."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Paint = Callable[[str, str], str]
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int = 8) -> str:
    """A bar for a number in [0, 1], always `width` characters wide."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def milliseconds(ms: float) -> str:
    """A duration as people say it: 3 digits at most."""
    return f"{ms:.2f} ms" if ms < 1 else f"{ms:.1f} ms" if ms < 100 else f"{ms / 1000:.2f} s"


def highlighted(text: str, ranges: Iterable[tuple[int, int]], paint: Paint) -> str:
    """The text with the ranges (start, end in characters) painted; ranges that don't fit are left out."""
    parts, at = [], 0
    for start, end in sorted(ranges):
        if at <= start < end <= len(text):
            parts += [text[at:start], paint(text[start:end], "yellow")]
            at = end
    return "".join([*parts, text[at:]])


def window(text: str, ranges: Sequence[tuple[int, int]], width: int) -> tuple[str, list[tuple[int, int]]]:
    """At most `width` characters of the text, around the first range; and the ranges where they are then."""
    start = max(0, min((ranges[0][0] if ranges else 0) - width // 4, len(text) - width))
    end = min(len(text), start + width)
    # An ellipsis takes the place of a character.
    low, high = start + (start > 0), end - (end < len(text))
    cut = ("…" if low > start else "") + text[low:high] + ("…" if high < end else "")
    return cut, [(one - start, other - start) for one, other in ranges if low <= one < other <= high]


@dataclass(frozen=True)
class Branch:
    """A note of the tree, with the weight of the edge that leads to it."""

    name: str
    hops: int
    weight: float
    children: Sequence["Branch"]
    # Children that were left out for want of room.
    more: int = 0


def grow(
    root: str, hops: dict[str, int], edges: Iterable[tuple[str, str, float]], *, widths: Sequence[int] = (6, 3)
) -> Branch:
    """The tree of a subgraph: each note hangs on its heaviest neighbour one hop nearer; widths: children by level."""
    best: dict[str, tuple[float, str]] = {}
    for one, other, weight in edges:
        for near, far in ((one, other), (other, one)):
            if near in hops and far in hops and hops[far] == hops[near] + 1:
                best[far] = max(best.get(far, (-1.0, "")), (weight, near))
    below: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for far, (weight, near) in best.items():
        below[near].append((weight, far))

    def branch(name: str, weight: float) -> Branch:
        level = hops[name]
        room = widths[level] if level < len(widths) else 0
        ranked = sorted(below[name], key=lambda child: (-child[0], child[1]))
        return Branch(name, level, weight, [branch(child, w) for w, child in ranked[:room]], max(0, len(ranked) - room))

    return branch(root, 1.0)


def tree(branch: Branch, titles: dict[str, str], paint: Paint, indent: str = "") -> list[str]:
    """The lines of a tree."""
    colours = ("bold", "cyan", "grey")
    lines = [paint(titles.get(branch.name, branch.name), colours[0])] if branch.hops == 0 else []
    rows: list[Branch | int] = [*branch.children, *([branch.more] if branch.more else [])]
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        stem = paint(indent + ("└─ " if last else "├─ "), "grey")
        if isinstance(row, int):
            lines.append(stem + paint(f"{row} more", "grey"))
            continue
        title = paint(titles.get(row.name, row.name), colours[min(row.hops, 2)])
        lines.append(f"{stem}{title} {paint(f'{row.weight:.2f}', 'grey')}")
        lines += tree(row, titles, paint, indent + ("   " if last else "│  "))
    return lines
