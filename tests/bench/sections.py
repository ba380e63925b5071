"""The measured sections of docs/performance.md, made anew from docs/bench: a part of `make docs`.

A section follows from its numbers in docs/bench, and that of costs from the prices in docs/capacity.json, too. So a
change of a price or of the words of a table needs no new measurement.
"""

import re
from collections.abc import Callable
from typing import Any

from tests.bench import fairness, imports, page
from tests.bench.cost import report as cost
from tests.bench.graph import report as graph
from tests.bench.perf import report as perf
from tests.bench.similarity import report as similarity
from tests.bench.throughput import report as throughput
from tests.chaos import __main__ as chaos

# The name of a section and of its numbers -> what makes the one of the other.
TABLES: dict[str, Callable[[Any], str]] = {
    "perf": perf.table,
    "throughput": throughput.table,
    "graph": graph.table,
    "similarity": similarity.table,
    "cost": cost.table,
    "chaos": chaos.table,
    "chaos-cluster": chaos.table,
    "import": imports.table,
    "fairness": fairness.table,
}
_SECTION = re.compile(r"(<!-- bench: (?P<name>[\w-]+) -->\n).*?(\n<!-- end: (?P=name) -->)", re.DOTALL)


def refreshed(text: str) -> str:
    """The text with each of its sections made anew. KeyError for a section that no measurement makes."""
    return _SECTION.sub(lambda found: f"{found[1]}{TABLES[found['name']](page.numbers(found['name']))}{found[3]}", text)


def main() -> None:
    """Write the page where something has changed."""
    text = page.PAGE.read_text(encoding="utf-8")
    if (fresh := refreshed(text)) != text:
        page.PAGE.write_text(fresh, encoding="utf-8")
        print(f"brain2: refreshed {page.PAGE.relative_to(page.ROOT)}")


if __name__ == "__main__":
    main()
