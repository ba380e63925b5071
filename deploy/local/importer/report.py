"""What became of everything that was read: counted once, told at the end."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from deploy.local.console import Console
from deploy.local.importer.items import shown

# Of each kind so many are shown line by line; the rest is counted.
_SHOWN = 20
_NOWHERE = "leads to no note"


@dataclass
class Report:
    """Every note that was read is counted in exactly one of its numbers, or shown as not confirmed."""

    read_notes: int = 0
    created: int = 0
    # The same note was stored before.
    present: int = 0
    # Stored before with another text; now replaced (--update).
    updated: int = 0
    # Stored before with another text, and left so.
    differing: list[tuple[str, str]] = field(default_factory=list)
    read_links: int = 0
    linked: int = 0
    linked_before: int = 0
    # Links that the texts no longer name, removed (--update).
    unlinked: int = 0
    failed_notes: int = 0
    # (where, why): of notes, links, and lines that are neither
    failures: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    # Ids of the notes that are stored now.
    stored: set[str] = field(default_factory=set)

    def fail(self, where: str, why: str) -> None:
        self.failures.append((where, why))

    def fail_note(self, where: str, why: str) -> None:
        self.failed_notes += 1
        self.fail(where, why)

    @property
    def confirmed_notes(self) -> int:
        return self.created + self.present + self.updated + len(self.differing) + self.failed_notes

    def note(self) -> str:
        """A few words for the progress bar."""
        text = f"{self.confirmed_notes - self.failed_notes:,} notes"
        if self.linked or self.linked_before:
            text += f", {self.linked + self.linked_before:,} links"
        return text + (f", {len(self.failures):,} failed" if self.failures else "")

    def show(self, console: Console, seconds: float) -> None:
        """The summary for a person."""
        _list(console, "failed", "red", self.failures)
        _list(console, "differs from the stored note, which was kept (--update replaces it)", "yellow", self.differing)
        # A wanted page is not there yet in most vaults; what could not be read comes first.
        _list(console, "mentioned", "yellow", sorted(self.remarks, key=lambda remark: remark[1].endswith(_NOWHERE)))
        parts = [
            f"{self.created:,} created",
            f"{self.present:,} already there",
            *([f"{self.updated:,} updated"] if self.updated else []),
            *([f"{len(self.differing):,} already there with another text"] if self.differing else []),
        ]
        rate = f", {self.read_notes / seconds:,.0f} a second" if seconds > 0 and self.read_notes else ""
        console.say(f"{console.paint('notes', 'bold')}  {', '.join(parts)} ({seconds:.1f} s{rate})")
        if self.read_links or self.unlinked:
            console.say(
                f"{console.paint('links', 'bold')}  {self.linked:,} created, {self.linked_before:,} already there"
                + (f", {self.unlinked:,} removed" if self.unlinked else "")
            )
        if unconfirmed := self.read_notes - self.confirmed_notes:
            console.say(console.paint(f"{unconfirmed:,} more were read, but are not stored for certain", "red"))
        failed = f"{len(self.failures):,} failed"
        console.say(console.paint(failed, "red" if self.failures else "green"))

    def lines(self) -> Iterator[str]:
        """Everything that is named, one line each: kind, place and reason, separated by tabs."""
        named = (("failed", self.failures), ("differs", self.differing), ("mentioned", self.remarks))
        for kind, rows in named:
            for where, why in rows:
                yield f"{kind}\t{shown(where)}\t{shown(why)}"


def _list(console: Console, what: str, colour: str, rows: list[tuple[str, str]]) -> None:
    for where, why in rows[:_SHOWN]:
        console.say(f"  {console.paint(what, colour)}  {shown(where)}: {shown(why)}")
    if len(rows) > _SHOWN:
        console.say(f"  {console.paint(what, colour)}  ... and {len(rows) - _SHOWN:,} more (--report writes all)")
