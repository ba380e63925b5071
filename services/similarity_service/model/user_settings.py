"""What a user can choose about similarity."""

from dataclasses import dataclass

from services.similarity_service.model.analysis import DEFAULT_LANGUAGE, LANGUAGES
from shared.errors import Violations

DEFAULT_MAX_LINKS = 5
MOST_LINKS = 50


@dataclass(frozen=True, slots=True)
class Settings:
    """language: of the notes, for stemming. link_threshold: 0 = the default. max_links: 0 = the default."""

    language: str = DEFAULT_LANGUAGE
    auto_link: bool = True
    link_threshold: float = 0.0
    max_links: int = 0

    def check(self) -> "Settings":
        """Itself; InvalidArgument names every bad field."""
        violations = Violations()
        if self.language not in LANGUAGES:
            violations.add("settings.language", f"must be one of {', '.join(sorted(LANGUAGES))}")
        if not 0 <= self.link_threshold <= 1:
            violations.add("settings.link_threshold", "must be in [0, 1]; 0 means the default")
        if not 0 <= self.max_links <= MOST_LINKS:
            violations.add("settings.max_links", f"must be 0 (the default) to {MOST_LINKS}")
        violations.raise_if_any()
        return self

    @property
    def links_wanted(self) -> int:
        return self.max_links or DEFAULT_MAX_LINKS
