"""Refreshes what the documentation takes from the code: `make docs`. A test fails when it is stale.

A block lies between `<!-- generated: NAME -->` and `<!-- end -->`; everything else in a file is written by hand.
"""

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from protos import table
from shared import config

ROOT = Path(__file__).resolve().parents[1]
CONTEXTS = ("node", "graph", "similarity", "cleanup")
_BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def config_class(context: str) -> type[config.ServerConfig]:
    """The config class of a context: the one that its config.py defines."""
    module = importlib.import_module(f"services.{context}_service.config")
    [found] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, config.ServerConfig) and value.__module__ == module.__name__
    ]
    return found


def variables(cls: type[Any]) -> dict[str, tuple[str, str]]:
    """What a config class reads: variable -> (default, why), as Markdown."""
    rows = (line.strip("|").split(" | ", 2) for line in config.describe(cls).splitlines()[2:])
    return {name.strip(): (default.strip(), why.strip()) for name, default, why in rows}


def config_table() -> str:
    """Every variable of every service, once per meaning; those that all four read come first."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for context in CONTEXTS:
        for name, (default, why) in variables(config_class(context)).items():
            found.setdefault((name, default, why), []).append(context)
    lines = ["| variable | read by | default | why |", "|---|---|---|---|"]
    for everywhere in (True, False):
        lines += [
            f"| {name} | {'all' if everywhere else ', '.join(readers)} | {default} | {why} |"
            for (name, default, why), readers in found.items()
            if (len(readers) == len(CONTEXTS)) is everywhere
        ]
    return "\n".join(lines)


def decisions() -> str:
    """The index of docs/adr: number, title, status."""
    lines = ["| decision | status |", "|---|---|"]
    for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0].removeprefix("# ")
        status = re.search(r"\*\*Status\*\*: ([^.]+)\.", text)
        lines.append(f"| [{title}]({path.name}) | {status[1] if status else '?'} |")
    return "\n".join(lines)


def table_items() -> str:
    """The items of the table: key, owner, indexes, and what other contexts may do with them."""
    lines = [
        "| item | owner | PK | SK | index | also read by | also written by | also removed by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for item in table.ITEMS:
        key = f"`{item.partition}` | `{item.sort_key}`"
        others = (", ".join(names) or "-" for names in (item.index, item.readers, item.completers, item.removers))
        lines.append(f"| {item.name} | {item.owner} | {key} | {' | '.join(others)} |")
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {"settings": config_table, "decisions": decisions, "table": table_items}


def refreshed(text: str) -> str:
    """The text with each of its blocks made anew. KeyError for a block that nobody makes."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found['name']]()}\n{found[3]}", text)


def pages() -> list[Path]:
    """The project's own Markdown."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "deploy").rglob("*.md")),
    ]


def main() -> int:
    """Write what has changed, and say so."""
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (fresh := refreshed(text)) != text:
            path.write_text(fresh, encoding="utf-8")
            print(f"brain2: refreshed {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
