"""The numbers as a file for machines and a table for people."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JSON = Path("docs/bench/similarity.json")
PAGE = Path("docs/performance.md")
_BEGIN, _END = "<!-- bench: similarity -->", "<!-- end: similarity -->"


def write(report: Mapping[str, Any], *, to: Path = JSON, page: Path = PAGE) -> None:
    """Replace the JSON file and the marked part of the page."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    block = f"{_BEGIN}\n{table(report)}\n{_END}"
    if _BEGIN in text:
        text = re.sub(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", lambda _: block, text, flags=re.DOTALL)
    else:
        text = f"{text.rstrip()}\n\n## Similarity\n{block}\n"
    page.write_text(text, encoding="utf-8")


def table(report: Mapping[str, Any]) -> str:
    """Markdown: sizes, then the peers of each size."""
    about = report["about"]
    lines = [
        f"{about['corpus']}; {about['machine']}; `make bench-similarity`. Times in ms, one thread.",
        "",
        "| notes | find 10: p50 / p99 | over gRPC | search: p50 / p99 | add | delete | bytes a note | load, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size, found in report["sizes"].items():
        own = found["brain2"]
        served = f"{own['grpc_find_p50_ms']} / {own['grpc_find_p99_ms']}" if "grpc_find_p50_ms" in own else "-"
        lines.append(
            f"| {int(size):,} | {own['find_p50_ms']} / {own['find_p99_ms']} | {served} "
            f"| {own['search_p50_ms']} / {own['search_p99_ms']} | {own['add_ms']} | {own['delete_ms']} "
            f"| {own['bytes_per_note']:.0f} | {own['cold_load_s']} |"
        )
    for size, found in report["sizes"].items():
        peers = {name: numbers for name, numbers in found.items() if name != "brain2"}
        if peers:
            lines += ["", f"The same {int(size):,} notes elsewhere, in the same run:", ""]
            lines += ["| | find 10 p50 / p99 | add | delete | bytes a note | build, s |", "|---|---|---|---|---|---|"]
            own = found["brain2"]
            lines.append(
                f"| **Brain2** | {own['find_p50_ms']} / {own['find_p99_ms']} | {own['add_ms']} | {own['delete_ms']} "
                f"| {own['bytes_per_note']:.0f} | {own['cold_load_s']} |"
            )
            for name, numbers in peers.items():
                lines.append(
                    f"| {name} | {numbers['find_p50_ms']} / {numbers['find_p99_ms']} | {numbers['add_ms']} "
                    f"| {numbers['delete_ms']} | {numbers['bytes_per_note']:.0f} | {numbers['build_s']} |"
                )
    served_at = report.get("links")
    if served_at:
        lines += [
            "",
            f"From event to links at {served_at['rate']} notes a second: p50 {served_at['links_p50_ms']} ms, "
            f"p99 {served_at['links_p99_ms']} ms ({served_at['links_notes']} notes).",
        ]
    return "\n".join(lines)
