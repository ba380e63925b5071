"""The stemmers in C (PyStemmer) give the stems of those in Python (snowballstemmer), which take ten times as long.

Records and indexes hold stems: a process with the one and a process with the other must agree on each of them.
"""

import importlib
import re
from typing import Any

import pytest
import snowballstemmer
import Stemmer

from services.similarity_service.model.stopwords import STOPWORDS
from tests.bench.similarity.corpus import collection, read


def in_python(language: str) -> Any:
    module = importlib.import_module(f"snowballstemmer.{language}_stemmer")
    return getattr(module, "".join(part.capitalize() for part in language.split("_")) + "Stemmer")()


@pytest.fixture(scope="module")
def vocabulary() -> list[str]:
    """The words of FOLDOC, or of the sample that the project ships."""
    texts = [f"{note.title} {note.text}" for note in read(collection())]
    return sorted({word.lower() for text in texts for word in re.findall(r"[^\W_]+", text)})


def test_the_stemmers_in_c_are_used_and_know_the_same_languages() -> None:
    assert isinstance(snowballstemmer.stemmer("english"), Stemmer.Stemmer)
    modules = {language for language in snowballstemmer.algorithms() if in_python(language)}
    assert modules == set(Stemmer.algorithms())


@pytest.mark.parametrize("language", snowballstemmer.algorithms())
def test_stems_in_c_are_those_in_python(language: str, vocabulary: list[str]) -> None:
    words = vocabulary if language == "english" else vocabulary[:: len(vocabulary) // 300]
    words = [*words, *sorted(STOPWORDS.get(language, ())), "naïveté", "straße", "öppnade", "возможностями", "ελληνικών"]
    slow, fast = in_python(language), snowballstemmer.stemmer(language)
    assert [fast.stemWord(word) for word in words] == [slow.stemWord(word) for word in words]
