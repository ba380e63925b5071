"""Every function that reads a user's text takes time in proportion to its length, whatever the text is.

The texts are made from small alphabets, since expressions go wrong on repetitions: a seed of one to four pieces is
repeated, with a beginning and an end that keep a match from succeeding. A text is doubled three times. Linear work
then takes 8 times as long; the square takes 64 times as long. The bound lies between the two, and the shortest of
several runs counts, in time of the processor, so that another process on the machine doesn't decide.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from clients.export import graphml, vault
from clients.export.records import Records
from clients.mcp import budget, tools
from deploy.local.importer import dates
from deploy.local.importer.page import Dialect, read_pages
from protos.node.v1 import node_pb2
from services.node_service.model import text as node_text
from services.node_service.usecases import validation as node_validation
from services.similarity_service.model import analysis, markup, note, passages, rewrite, search, snippets, wiki_links
from services.similarity_service.model.engine.index import UserIndex
from shared.errors import NotFound, Violations
from shared.grpc import status
from shared.grpc.validation import validator
from shared.ids import check_id
from shared.logs import cut

# Pieces that the expressions treat in different ways: letters, joints, marks, brackets, scripts without spaces.
PIECES = [
    "a", "A", "1", "_", "-", "--", ".", "..", "+", "@", "#", "&", "/", "'", "\u2019", "*", '"', "(", ")", "[", "]", ":",
    " ", "\n", "\t", "!", "\u3002", "\u0301", "\u0316", "\u0591", "é", "ﷺ", "漢", "ก", "य", "🙂", "\u200d", "\ufe0f",
    "http://", "www.", "a@", "@a", "a.b", "a_b", "aA", "y", "ya", "ing", "tag:", "C++", "ß", "İ",
    "\U0001d165", "\u0344",
    "`", "```", "\n```\n", "~~~", "<", ">", "</", "<a ", "<!--", "-->", "<pre>", "$", "$$", "\\", "[[", "]]", "[[a|",
    "](", "![", "::", "\n---\n", "%%", "data:", "\n    ", "\n- ", "\n1. ", "\n> ", "\n\n", "|", "&#", "%20", ";", "=",
]  # fmt: skip
ENDS = ["", "!", "\n", "é", "@", '"']
SHORT = 2_000
DOUBLINGS = 3
# 8 for linear work, 64 for the square. The least time keeps what is over in a moment from being judged by noise.
MOST_GROWTH = 24.0
LEAST_SECONDS = 0.004

ENGLISH = analysis.Analyser("english")
TURKISH = analysis.Analyser("turkish")
INDEX = UserIndex("english")
INDEX.add(note.analyse(ENGLISH, node_id="n", version=1, title="A a (B)", text="a b ab aa ing", tags=["a"]))
VALIDATE = validator(node_pb2.NewNode.DESCRIPTOR)


def fresh(analyser: analysis.Analyser) -> analysis.Analyser:
    """The analyser without what it knows of earlier texts."""
    analyser._known.clear()
    return analyser


def analysed(text: str) -> object:
    return note.analyse(fresh(ENGLISH), node_id="x", version=1, title=text[:512], text=text)


def mentions(text: str) -> object:
    made = note.analyse(fresh(ENGLISH), node_id="x", version=1, title="t", text=text)
    numbers = INDEX.vocabulary.numbers(made.terms)
    return INDEX.titles.scan(numbers)


class Exported(Records):
    """The export of one note with this title and text, which links to itself."""

    def __init__(self, text: str) -> None:  # without the temporary file
        keyword = {"keyword": text, "contribution": 0.5}
        self._note = {
            "id": "n", "title": text, "text": text, "tags": [text], "created": "", "updated": "",
            "metadata": {text: text},
        }  # fmt: skip
        self.edges = [{"source_id": "n", "target_id": "n", "metadata": {"shared_keywords": [keyword]}}]
        self.rejections = [{"source_id": "n", "target_id": "n", "type": "related"}]

    def notes(self) -> Iterator[dict[str, Any]]:
        yield self._note


def date(text: str) -> object:
    try:
        return dates.when(text)
    except ValueError:
        return None


NOW = datetime(2026, 1, 1, tzinfo=UTC)
FUNCTIONS: dict[str, Callable[[str], object]] = {
    "analysis of a note": analysed,
    "analysis in another language": lambda text: fresh(TURKISH).pairs(text),
    "spans": lambda text: list(fresh(ENGLISH).spans(analysis.normalise(text))),
    "sentences": analysis.sentences,
    "names in a title": note.called,
    "title of a note": lambda text: note.analyse(ENGLISH, node_id="x", version=1, title=text, text=""),
    "mentions of titles": mentions,
    "search query": lambda text: search.parse(INDEX, text),
    "search": lambda text: search.search(INDEX, search.parse(INDEX, text[:1024]), 10),
    "snippet": lambda text: snippets.snippet(fresh(ENGLISH), text, lambda term: True, most=len(text)),
    "parts of Markdown": lambda text: list(markup.segments(text)),
    "wiki links": wiki_links.wiki_links,
    "links of a renamed note": lambda text: rewrite.rewritten(text, {"a", "ab"}, ("a",), "b", "c"),
    "passage of a mention": lambda text: passages.passage(text, len(text) // 2, len(text) // 2 + 1),
    "excerpt": node_text,
    "files of an export": lambda text: list(vault.files(Exported(text))),
    "GraphML of an export": lambda text: list(graphml.lines(Exported(text))),
    "piece of an answer for a model": lambda text: budget.piece(text, 0, 10_000),
    "text edited by a tool": lambda text: tools._edited(text + "\0", "replace", "x", text[len(text) // 2 :] + "\0"),
    "page of an import": lambda text: read_pages(text.encode(), "a.md", 0.0, NOW, Dialect()),
    "date of an import": date,
    "error of a service": lambda text: status.to_status(NotFound(text, metadata={"a": text})),
    "limits of a note": lambda text: VALIDATE(node_pb2.NewNode(title=text, content=text, tags=[text])),
    "rules of a note": lambda text: node_validation._control(text),
    "id": lambda text: check_id("node_id", text, Violations()),
    "log": lambda text: cut(text, 500),
}


def texts(seed: int, count: int) -> Iterator[Callable[[int], str]]:
    """Makers of a text of a length: first each piece by itself, then mixtures of them."""
    draw = random.Random(seed)
    cores = [[piece] for piece in PIECES]
    cores += [[draw.choice(PIECES) for _ in range(draw.randint(2, 4))] for _ in range(count)]
    for core in cores:
        body, begin, end = "".join(core), draw.choice(PIECES), draw.choice(ENDS)

        def make(length: int, body: str = body, begin: str = begin, end: str = end) -> str:
            return begin + body * (length // len(body)) + end

        yield make
    for first, second in [("\u0301", "\u0316"), ("(", ")"), ("a", "_"), ("a.", "@"), ("+", "a")]:

        def halves(length: int, first: str = first, second: str = second) -> str:
            return first * (length // 2) + second * (length // 2)

        yield halves


def seconds(work: Callable[[str], object], text: str, repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.thread_time()  # and not the time that others use the core for
        work(text)
        best = min(best, time.thread_time() - start)
    return best


@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_grows_with_the_length_and_not_with_its_square(name: str) -> None:
    work = FUNCTIONS[name]
    for make in texts(seed=1, count=8):
        long = make(SHORT << DOUBLINGS)
        taken = seconds(work, long, 1)
        if taken < LEAST_SECONDS * MOST_GROWTH:
            continue  # the square of the length would show in more than this
        allowed = max(seconds(work, make(SHORT), 3), LEAST_SECONDS) * MOST_GROWTH
        taken = min(taken, seconds(work, long, 2))
        assert taken < allowed, f"{make(12)!r}…: {len(long)} characters took {taken:.2f} s"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_text_is_too_strange(name: str) -> None:
    work, draw = FUNCTIONS[name], random.Random(2)
    work("\u6f22_")
    work("@\u6f22[[a|@")
    for _ in range(1_000):
        pieces = draw.sample(PIECES, draw.randint(1, 5))
        text = "".join(draw.choices(pieces, k=draw.randint(1, 12)))
        try:
            work(text)
        except Exception as error:
            error.add_note(f"the text is {text!a}")
            raise


def test_the_bound_finds_an_expression_that_backtracks() -> None:
    quadratic = re.compile(r"[a-z]+(?:[_-]+?[a-z]+|_)*")
    text = "a" + "_" * 8_000
    short = seconds(quadratic.findall, text[:1_001], 3)
    assert seconds(quadratic.findall, text, 1) > max(short, LEAST_SECONDS) * MOST_GROWTH
