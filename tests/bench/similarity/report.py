"""The numbers of the similarity service as a table for people."""

from collections.abc import Mapping
from typing import Any


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
            lines += [
                "| | find 10 by all words: p50 / p99 | by the 32 rarest | add | delete | bytes a note | build, s |",
                "|---|---|---|---|---|---|---|",
            ]
            own = found["brain2"]
            lines.append(
                f"| **Brain2** | {own['find_p50_ms']} / {own['find_p99_ms']} | - "
                f"| {own['add_ms']} | {own['delete_ms']} | {own['bytes_per_note']:.0f} | {own['cold_load_s']} |"
            )
            for name, numbers in peers.items():
                lines.append(
                    f"| {name} | {numbers['find_p50_ms']} / {numbers['find_p99_ms']} "
                    f"| {numbers['find_32_p50_ms']} / {numbers['find_32_p99_ms']} | {numbers['add_ms']} "
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
