"""The documentation is true to the code where that can be checked: generated blocks, links, names of files."""

import re
from pathlib import Path

import pytest

from deploy.docs import ROOT, pages, refreshed, variables
from shared import config
from tests.bench import sections
from tests.bench.page import PAGE, numbers


def names() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in pages()]


@pytest.mark.parametrize("name", names())
def test_generated_blocks_are_fresh(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert refreshed(text) == text, "run make docs"


@pytest.mark.parametrize("name", re.findall(r"<!-- bench: ([\w-]+) -->", PAGE.read_text(encoding="utf-8")))
def test_a_measured_section_is_that_of_its_numbers(name: str) -> None:
    """The numbers are docs/bench/NAME.json, and for costs the prices of docs/capacity.json, too."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- bench: {name} -->", f"<!-- end: {name} -->"
    section = begin + text.partition(begin)[2].partition(end)[0] + end
    assert sections.refreshed(section) == section, "run make docs"


def test_the_quality_of_the_links_is_what_was_measured() -> None:
    found = numbers("similarity-quality")
    links = found["links"]
    row = (
        f"| FOLDOC | {found['text']['ndcg10']:.4f} / {found['text_hard']['ndcg10']:.4f} "
        f"| {links['precision']:.2f} / {links['recall']:.2f} | {found['titles']['recall1']:.4f} |"
    )
    assert row.replace(" 0.", " .") in PAGE.read_text(encoding="utf-8")


def test_a_section_follows_from_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sections.TABLES, "perf", lambda found: f"of {found['date']}")
    date = numbers("perf")["date"]
    text = "before\n<!-- bench: perf -->\nof long ago\n\nwritten by hand\n<!-- end: perf -->\nafter"
    assert sections.refreshed(text) == f"before\n<!-- bench: perf -->\nof {date}\n<!-- end: perf -->\nafter"
    with pytest.raises(KeyError):
        sections.refreshed(text.replace("perf", "nothing"))


def test_the_table_of_settings_is_in_the_operators_page() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert "<!-- generated: settings -->" in text
    for variable in variables(config.StoreConfig):
        assert f"| {variable} | all |" in text


@pytest.mark.parametrize("name", names())
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    # What stands in code is an example of a link.
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    broken = [target for target in local if not leads(page, target)]
    assert not broken


def leads(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (page.parent / path) if path else page
    return found.exists() and (not anchor or anchor in anchors(found))


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub's anchors."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/testing.md"])
def test_files_that_a_page_names_exist(name: str) -> None:
    """`services/node_service/app.py` in a text must be there: who renames it is told."""
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:services|shared|protos|deploy|tests|docs|requirements)/[\w./-]+)`", text))
    assert not sorted(path for path in named if not (ROOT / path).exists())


def test_every_make_target_that_a_page_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE))
    assert "run" in targets
    for page in pages():
        used = set(re.findall(r"`make ([a-z-]*[a-z])(?=[`\s])", page.read_text(encoding="utf-8")))
        assert used <= targets, page
