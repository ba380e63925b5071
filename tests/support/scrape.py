"""Reads what a Prometheus endpoint answers, and the table of metrics in docs/operations.md."""

import asyncio
import re
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
_SAMPLE = re.compile(r'([a-z0-9_]+)(?:\{((?:[a-z0-9_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)( # .*)?')
_LABEL = re.compile(r'([a-z0-9_]+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Scraped:
    """A family. samples: value by (name of the sample, its labels in order)."""

    kind: str
    labels: set[str] = field(default_factory=set)
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    exemplars: list[str] = field(default_factory=list)

    def value(self, suffix: str = "", **labels: str) -> float:
        """The sum of the samples whose name ends so and that have these labels."""
        return sum(
            value
            for (name, pairs), value in self.samples.items()
            if name.endswith(suffix) and labels.items() <= dict(pairs).items()
        )


@dataclass(frozen=True)
class Row:
    """A row of the table: services that have the metric, and its labels."""

    name: str
    kind: str
    unit: str
    services: frozenset[str]
    labels: frozenset[str]


def parse(text: str) -> dict[str, Scraped]:
    """The families by their names in Prometheus. A line that is no sample fails."""
    families: dict[str, Scraped] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            families[name] = Scraped(kind)
        if line.startswith("#"):
            continue
        matched = _SAMPLE.fullmatch(line)
        assert matched, line
        name, labels, value, exemplar = matched.groups()
        family = families.get(name) or families[re.sub("_(bucket|sum|count|total)$", "", name)]
        pairs = tuple(_LABEL.findall(labels or ""))
        family.labels |= {key for key, _ in pairs} - {"le"}
        family.samples[name, pairs] = float(value)
        if exemplar:
            family.exemplars.append(exemplar)
    return families


async def scrape(address: str, accept: str = "text/plain") -> str:
    """The answer of the endpoint at host:port."""

    def read() -> str:
        request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=100) as answer:  # noqa: S310 - http, as said above
            return str(answer.read().decode())

    return await asyncio.to_thread(read)


def documented() -> dict[str, Row]:
    """The table's rows by the metric's name in Prometheus."""
    rows = {}
    for line in OPERATIONS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0].startswith("`"):
            rows[cells[0].strip("`").replace(".", "_")] = Row(
                name=cells[0].strip("`"),
                kind=cells[1],
                unit="" if cells[2] == "-" else cells[2],
                services=frozenset(cells[3].split(", ")),
                labels=frozenset(each.replace(".", "_") for each in re.findall("`([^`]+)`", cells[4])),
            )
    return rows
