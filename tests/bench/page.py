"""docs/performance.md: each measurement owns a section of it, and docs/bench holds the same numbers for machines."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy import docs

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "bench"


def write(name: str, title: str, numbers: Mapping[str, Any], table: str, folder: Path | None = None) -> None:
    """Replace NAME.json and the section of that name, or add it as the last, and refresh what the docs take from it.

    folder: elsewhere than in docs, where nothing is refreshed.
    """
    json_file, page = (
        (folder / f"{name}.json", folder / "performance.md") if folder else (FOLDER / f"{name}.json", PAGE)
    )
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    begin, end = f"<!-- bench: {name} -->", f"<!-- end: {name} -->"
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    if begin not in text:
        text = f"{text.rstrip()}\n\n## {title}\n{begin}\n{end}\n"
    head, _, rest = text.partition(begin)
    page.write_text(f"{head}{begin}\n{table}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
    if folder is None:
        # The plans of docs/capacity.md are computed from these numbers.
        docs.main()


def show(name: str, images: Mapping[str, str]) -> None:
    """Put images after the section of that name, in the place of those of before.

    images: a file in docs/images -> what it shows.
    """
    begin, end, section = f"<!-- plots: {name} -->", f"<!-- end: plots of {name} -->", f"<!-- end: {name} -->"
    text = PAGE.read_text(encoding="utf-8")
    if begin not in text:
        text = text.replace(section, f"{section}\n\n{begin}\n{end}")
    head, _, rest = text.partition(begin)
    lines = "\n\n".join(f"![{what}](images/{file})" for file, what in images.items())
    PAGE.write_text(f"{head}{begin}\n{lines}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def numbers(name: str, folder: Path | None = None) -> dict[str, Any]:
    """What was written last; {} before the first time."""
    file = _file(name, folder)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def _file(name: str, folder: Path | None) -> Path:
    return (folder or FOLDER) / f"{name}.json"


def machine() -> str:
    """What the numbers were measured on, in a line."""
    return f"{os.cpu_count()} x {_cpu()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
