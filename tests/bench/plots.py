"""`make plots`: draws docs/bench/*.json as docs/images/*.svg, and shows the images in docs/performance.md.

The same numbers give the same bytes, so a test can tell whether an image is that of its numbers. What was not measured
yet is not drawn.

Library: matplotlib.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from tests.bench import page
from tests.bench.imports import median_run

IMAGES = page.ROOT / "docs" / "images"
# Text stays text: it can be searched and needs no outlines of letters. No date and no random ids.
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "brain2",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
_METADATA = {"Date": None, "Creator": None}
# A medium keeps its colour in all images.
_MEDIA = {"warm": ("memory", "C0"), "from_redis": ("Redis", "C1"), "cold": ("DynamoDB", "C2")}
_LATENCY = "ms from the intended start; dashed: p99"
_CALLS = {
    "echo": "bare echo",
    "lookup": "lookup from memory",
    "tao": "TAO's mix of reads",
    "linkbench": "LinkBench's mix",
    "create": "create, indexed and linked",
}
_PROCESSES = ("node", "graph", "similarity", "cleanup", "dynoxide", "ministack", "valkey")


@dataclass(frozen=True)
class Plot:
    """One image. numbers: the file in docs/bench. draw: fills a figure; False when its numbers are not there."""

    name: str
    numbers: str
    shows: str
    draw: Callable[[Figure, Mapping[str, Any]], bool]

    @property
    def file(self) -> str:
        return f"{self.name}.svg"

    def svg(self, numbers: Mapping[str, Any]) -> bytes | None:
        """The image; None when there is nothing to draw."""
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(9, 3.4), layout="constrained")
            if not self.draw(figure, numbers):
                return None
            out = io.BytesIO()
            figure.savefig(out, format="svg", metadata=_METADATA)
        # matplotlib ends some lines of paths with a space.
        return b"".join(line.rstrip() + b"\n" for line in out.getvalue().splitlines())


def _latency_by_load(figure: Figure, numbers: Mapping[str, Any]) -> bool:
    runs = numbers.get("load", {})
    if not runs:
        return False
    axes: Axes = figure.subplots()
    for key, (label, colour) in _MEDIA.items():
        points = sorted((run[key]["rate"], run[key]) for run in runs.values() if key in run)
        _percentiles(axes, [rate for rate, _ in points], [run for _, run in points], label, colour)
    _labelled(axes, "lookups a second", _LATENCY, log="y")
    return True


def _lookup_by_graph(figure: Figure, numbers: Mapping[str, Any]) -> bool:
    found = numbers.get("lookup", {})
    if not found:
        return False
    left, right = figure.subplots(1, 2, sharey=True)
    sizes = found["by_size"]
    for key, (label, colour) in _MEDIA.items():
        _percentiles(left, [int(size) for size in sizes], [run[key] for run in sizes.values()], label, colour)
    _labelled(left, "edges of the user, ten a note", _LATENCY, log="x")
    degrees = found["by_degree"]
    pages = {
        "first_page": ("first page, memory", "C0"),
        "first_page_from_redis": ("first page, Redis", "C1"),
        "middle_page": ("middle page, memory", "C4"),
        "middle_page_from_redis": ("middle page, Redis", "C3"),
    }
    for key, (label, colour) in pages.items():
        _percentiles(right, [int(degree) for degree in degrees], [run[key] for run in degrees.values()], label, colour)
    _labelled(right, "neighbours of the note, 50 a page", "", log="x")
    return True


def _index_by_notes(figure: Figure, numbers: Mapping[str, Any]) -> bool:
    sizes = numbers.get("sizes", {})
    if not sizes:
        return False
    left, right = figure.subplots(1, 2)
    tools = dict.fromkeys(tool for found in sizes.values() for tool in found)
    for place, tool in enumerate(tools):
        measured = [(int(size), found[tool]) for size, found in sizes.items() if tool in found]
        counts = [count for count, _ in measured]
        name, width = ("Brain2", 2.2) if tool == "brain2" else (tool, 1.0)
        shape: dict[str, Any] = {"marker": "o", "markersize": 3, "linewidth": width, "color": f"C{place}"}
        left.plot(counts, [count * found["bytes_per_note"] / 1e6 for count, found in measured], label=name, **shape)
        right.plot(counts, [found["find_p50_ms"] for _, found in measured], label=name, **shape)
        if tool == "brain2":
            shape |= {"linewidth": 1.0, "linestyle": "--"}
            right.plot(counts, [found["find_p99_ms"] for _, found in measured], **shape)
    _labelled(left, "notes of the user", "index, MB")
    _labelled(right, "notes of the user", "find 10 similar notes, ms; dashed: p99")
    return True


def _throughput_by_load(figure: Figure, numbers: Mapping[str, Any]) -> bool:
    if not numbers:
        return False
    left, right = figure.subplots(1, 2)
    for place, (key, label) in enumerate(_CALLS.items()):
        for processes, cells in numbers.get(key, {}).items():
            in_flight = [int(each) for each in cells]
            shape: dict[str, Any] = {"color": f"C{place}", "marker": "o", "markersize": 3}
            shape |= {"label": label} if processes == "1" else {"linestyle": "--"}
            left.plot(in_flight, [cell["rps"] for cell in cells.values()], **shape)
            right.plot(in_flight, [cell["us_all"] for cell in cells.values()], **shape)
    _labelled(left, "calls in flight a process", "calls a second; dashed: two processes")
    _labelled(right, "calls in flight a process", "processor of all services, us a call")
    return True


def _import_by_process(figure: Figure, numbers: Mapping[str, Any]) -> bool:
    trees = numbers.get("trees", {})
    if not trees:
        return False
    axes: Axes = figure.subplots()
    shown = {name: median_run(runs)["ms_a_note"] for name, runs in trees.items()}
    names = list(shown)[::-1]
    ends = dict.fromkeys(names, 0.0)
    for place, process in enumerate(_PROCESSES):
        widths = [shown[name].get(process, 0.0) for name in names]
        if any(widths):
            axes.barh(names, widths, left=list(ends.values()), label=process, color=f"C{place}", height=0.55)
            ends = {name: ends[name] + width for name, width in zip(names, widths, strict=True)}
    axes.set_xlabel("processor, ms a note")
    axes.grid(visible=False, axis="y")
    axes.legend(ncols=len(_PROCESSES), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return True


def _percentiles(axes: Axes, x: Sequence[float], runs: Sequence[Mapping[str, Any]], label: str, colour: str) -> None:
    if not runs:
        return
    shape: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3}
    axes.plot(x, [run["p50_ms"] for run in runs], label=label, linewidth=1.6, **shape)
    axes.plot(x, [run["p99_ms"] for run in runs], linewidth=1.0, linestyle="--", **shape)


def _labelled(axes: Axes, x: str, y: str, *, log: str = "xy") -> None:
    """log: the axes that are logarithmic; the others begin at 0."""
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if name in log:
            axes.set(**{f"{name}scale": "log"})
            axis.set_minor_formatter(NullFormatter())
        else:
            axes.set(**{f"{name}lim": (0, None)})
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(ncols=3, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1.2)


PLOTS = (
    Plot("latency-by-load", "graph", "Latency of a lookup by load, from memory and from Redis", _latency_by_load),
    Plot("lookup-by-graph", "graph", "Latency of a lookup by the size of the graph and by degree", _lookup_by_graph),
    Plot("index-by-notes", "similarity", "Size of the index and time to find by the number of notes", _index_by_notes),
    Plot("throughput-by-load", "throughput", "Calls a second and processor a call by load", _throughput_by_load),
    Plot("import-by-process", "import", "Processor time of an imported note by process", _import_by_process),
)


def main() -> None:
    """Draw all that was measured."""
    IMAGES.mkdir(exist_ok=True)
    shown: dict[str, dict[str, str]] = {}
    for plot in PLOTS:
        svg = plot.svg(page.numbers(plot.numbers))
        if svg is None:
            print(f"{plot.name}: {plot.numbers}.json does not have its numbers yet")
            continue
        (IMAGES / plot.file).write_bytes(svg)
        shown.setdefault(plot.numbers, {})[plot.file] = plot.shows
        print(f"{plot.name}: docs/images/{plot.file}")
    for name, images in shown.items():
        page.show(name, images)


if __name__ == "__main__":
    main()
