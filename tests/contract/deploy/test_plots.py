"""The images of docs/performance.md are those of the numbers in docs/bench."""

import re

import pytest

from tests.bench import page
from tests.bench.plots import IMAGES, PLOTS, Plot


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_an_image_is_that_of_its_numbers(plot: Plot) -> None:
    svg = plot.svg(page.numbers(plot.numbers))
    file = IMAGES / plot.file
    assert (file.read_bytes() if file.exists() else None) == svg, "run make plots"
    shown = f"![{plot.shows}](images/{plot.file})" in page.PAGE.read_text(encoding="utf-8")
    assert shown == (svg is not None), "run make plots"


def test_other_numbers_give_another_image() -> None:
    plot = next(plot for plot in PLOTS if plot.name == "index-by-notes")
    tool = {"bytes_per_note": 1000.0, "find_p50_ms": 1.0, "find_p99_ms": 2.0}
    first = plot.svg({"sizes": {"1000": {"brain2": tool}, "2000": {"brain2": tool}}})
    other = plot.svg({"sizes": {"1000": {"brain2": tool}, "2000": {"brain2": {**tool, "find_p50_ms": 3.0}}}})
    assert first is not None
    assert first != other
    assert plot.svg({}) is None
    # Nothing in it depends on when it was drawn.
    assert not re.search(rb"<dc:date>|<dc:creator>", first)


def test_an_import_is_drawn_by_process() -> None:
    plot = next(plot for plot in PLOTS if plot.name == "import-by-process")
    run = {"services_ms": 3.0, "ms_a_note": {"node": 1.0, "graph": 2.0, "dynoxide": 0.5}}
    svg = plot.svg({"trees": {"abc (before)": [{**run, "services_ms": 9.0}, run], "this tree": [run]}})
    assert svg is not None
    for word in (b"abc (before)", b"this tree", b"node", b"graph", b"dynoxide"):
        assert word in svg
    assert b"cleanup" not in svg


def test_throughput_is_drawn_by_load() -> None:
    plot = next(plot for plot in PLOTS if plot.name == "throughput-by-load")
    cells = {"1": {"rps": 1000.0, "us_all": 90.0}, "8": {"rps": 3000.0, "us_all": 80.0}}
    svg = plot.svg({"lookup": {"1": cells, "2": cells}, "echo": {"1": cells}})
    assert svg is not None
    assert svg.count(b"lookup from memory</text>") == svg.count(b"bare echo</text>") == 2
    assert b"LinkBench" not in svg
