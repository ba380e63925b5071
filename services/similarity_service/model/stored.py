"""What is known of a note, and how an event or a call changes it; the result does not depend on their order.

Two versions are kept: of the text (raised by writing) and of the state (live or deleted; raised by deleting, restoring
and writing). So an update that arrives after the deletion that followed it still brings its text, and stays hidden.
A new incarnation (a note created again under a purged id) begins from nothing.
"""

from dataclasses import dataclass, replace

from services.similarity_service.model.note import Note
from shared.errors import Aborted


@dataclass(frozen=True, slots=True)
class Stored:
    """The record of a note.

    note: None until its text is known. gone: the note was purged; the record is kept for some days, so that late events
    are recognised as late. revision: counts the writes of the record.
    """

    note: Note | None = None
    incarnation: int = 0
    version: int = 0
    state_version: int = 0
    visible: bool = True
    gone: bool = False
    revision: int = 0

    @property
    def shown(self) -> Note | None:
        """The note if it may appear in answers."""
        return self.note if self.visible and not self.gone else None

    @property
    def stamp(self) -> tuple[int, int]:
        return self.incarnation, self.version

    def written(self, note: Note, *, again: bool = False) -> "Stored | None":
        """The record with a text of the note; None if the text is not newer.

        again: a text of the same version counts too, because it was analysed again.
        """
        incarnation, version = note.stamp
        if incarnation > self.incarnation:
            return Stored(note, incarnation, version, version, revision=self.revision)
        if incarnation < self.incarnation or self.gone:
            return None
        if self.note is not None and (version < self.version or (version == self.version and not again)):
            return None
        if version < self.version:
            return None
        if version >= self.state_version and (version > self.state_version or self.visible):
            return replace(self, note=note, version=version, state_version=version, visible=True)
        return replace(self, note=note, version=version)

    def with_visibility(self, version: int, *, visible: bool, incarnation: int | None = None) -> "Stored | None":
        """The record when the note was hidden or shown; None if a newer state is known.

        incarnation: None means the one that is known.
        """
        incarnation = self.incarnation if incarnation is None else incarnation
        if incarnation > self.incarnation:
            return Stored(None, incarnation, 0, version, visible, revision=self.revision)
        if incarnation < self.incarnation or self.gone or version < self.state_version:
            return None
        if version == self.state_version and (self.note is not None or visible == self.visible):
            return None
        return replace(self, visible=visible, state_version=version)

    def corrected(self, version: int, *, visible: bool, incarnation: int) -> "Stored | None":
        """The record with the state that the note has at its owner; None if this record is not ahead of the owner.

        Only a wrong call can bring a version that the note never had.
        """
        if self.gone or (self.incarnation, self.state_version) <= (incarnation, version):
            return None
        note = self.note if self.incarnation == incarnation and self.version <= version else None
        return Stored(note, incarnation, note.version if note else 0, version, visible, revision=self.revision)

    def removed(self, version: int, *, incarnation: int | None = None) -> "Stored | None":
        """The record when the note was purged; None if it was purged before.

        Aborted (VERSION_MISMATCH) when a version newer than `version` is known.
        """
        incarnation = self.incarnation if incarnation is None else incarnation
        if incarnation < self.incarnation:
            return None
        newest = max(self.version, self.state_version)
        if incarnation == self.incarnation:
            if self.gone:
                return None
            if newest > version:
                raise newer_version(newest, version)
        return Stored(None, incarnation, version, version, visible=False, gone=True, revision=self.revision)


def newer_version(newest: int, version: int) -> Aborted:
    """The error for the removal of a version that is not the newest."""
    return Aborted(
        f"version {newest} of the note is known, which is newer than {version}",
        reason="VERSION_MISMATCH",
        metadata={"version": str(newest)},
    )
