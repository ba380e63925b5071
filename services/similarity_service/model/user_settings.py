"""What a user can choose about similarity."""

from dataclasses import dataclass

from services.similarity_service.model.analysis import DEFAULT_LANGUAGE

DEFAULT_MAX_LINKS = 8
MOST_LINKS = 50


@dataclass(frozen=True, slots=True)
class UserSettings:
    """language: of the notes, for stemming. link_threshold: 0 means the default. max_links: 0 means the default."""

    language: str = DEFAULT_LANGUAGE
    auto_link: bool = True
    link_threshold: float = 0.0
    max_links: int = 0

    @property
    def links_wanted(self) -> int:
        """How many of its best notes a note may be linked to."""
        return self.max_links or DEFAULT_MAX_LINKS


@dataclass(frozen=True, slots=True)
class SavedUserSettings:
    """What the store holds. indexed_language: the one in which the user's notes are indexed until the next reindex.

    updated_ms: when the user last changed the settings, in milliseconds since 1970; 0 for never.
    """

    settings: UserSettings
    indexed_language: str
    updated_ms: int = 0
