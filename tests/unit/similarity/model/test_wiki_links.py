"""The wiki links of a text: what is one, what it names, and what hides it."""

import time

import pytest

from services.similarity_service.model.wiki_links import hide, wiki_links


def targets(text: str) -> list[str]:
    return [link.target for link in wiki_links(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[Tea]] and [[Clay teapot|the pot]]", ["Tea", "Clay teapot"]),
        ("[[Tea#Brewing]], [[Tea#^a1|x]], ![[Tea]]", ["Tea#Brewing", "Tea#^a1", "Tea"]),
        ("| a | [[b\\|Bee here]] |", ["b"]),
        ("[[ Tea ]] [[sub/deep/Note.md]]", ["Tea", "sub/deep/Note.md"]),
        ("[[#Heading]] [[]] [[ ]] [[|x]] [single] [[broken\nline]] [[a[b]]]", []),
        ("![[picture.png]] [[plan.PDF|the plan]] [[v1.2]]", ["v1.2"]),
        ("[[[Tea]]]", ["Tea"]),
        ("a\\[[b]] [[c]]", ["c"]),
        ("[[日本]][[ÅÄÖ]]", ["日本", "ÅÄÖ"]),
    ],
)
def test_what_a_link_names(text: str, expected: list[str]) -> None:
    assert targets(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[The soup|recipes.soup]] [[recipes.soup]]", ["recipes.soup", "recipes.soup"]),
        (
            "[[The soup|dendron://vault/recipes.soup#salt]] [[//vault/recipes.soup]]",
            ["recipes.soup#salt", "recipes.soup"],
        ),
        ("| [[soup\\|recipes.soup]] | ![[ a | b ]] [[c|]] [[d|#part]]", ["recipes.soup", "b"]),
    ],
)
def test_dendron_writes_the_label_first(text: str, expected: list[str]) -> None:
    links = wiki_links(text, label_first=True)
    assert [link.target for link in links] == expected
    assert [text[link.target_start : link.target_end] for link in links] == expected


@pytest.mark.parametrize(
    "hidden",
    [
        "```\n[[x]]\n```",
        "~~~ python\n[[x]]\n```\n[[x]]\n~~~",
        "````\n```\n[[x]]\n```\n[[x]]\n````",
        "- item\n  ```\n  [[x]]\n  ```",
        "> ```\n> [[x]]\n> ```",
        "1. ```js\n   [[x]]\n   ```",
        "    [[x]]\n\n    [[x]]\n",
        "text\n\n\t[[x]]\n",
        "`[[x]]`",
        "``a ` [[x]] b``",
        "`two\nlines [[x]]`",
        "<!-- [[x]]\n\n[[x]] -->",
        "%% [[x]] %%",
        "%%\n\n[[x]]\n%%",
        "$$\n[[x]]\n\n$$",
        "$a[[x]]$",
        "\\[[x]]",
        "<pre>\n[[x]]\n\n[[x]]\n</pre>",
        "x <code class='y'>[[x]]</code> y",
        "<SCRIPT>[[x]]</script>",
        "#+BEGIN_QUERY\n[[x]]\n\n[[x]]\n#+END_QUERY",
        "- #+begin_src js\n  [[x]]\n  #+end_src",
    ],
)
def test_no_link_is_found_in_code_comments_and_formulas(hidden: str) -> None:
    assert targets(f"[[before]]\n\n{hidden}\n\n[[after]]") == ["before", "after"]


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 and [[x]] costs $6",
        "one ` tick [[x]]",
        "one ` tick\n\n[[x]] and another `",
        "``a ` [[x]]",
        "\\`[[x]]\\`",
        "50 %% more [[x]]",
        "<!-- not closed [[x]]",
        "- item\n\n    [[x]] belongs to the item",
        "a paragraph\n    [[x]] goes on",
        "-\ta\n\t- [[x]]",
        "```inline``` [[x]]",
        "\\![[x]]",
        "<pre>not closed [[x]]",
        "<precious>[[x]]</precious>",
        "#+BEGIN_SRC not closed [[x]]",
        "#+BEGIN_NOTE\n[[x]]\n#+END_NOTE",
    ],
)
def test_what_only_looks_like_code_hides_nothing(text: str) -> None:
    assert targets(text) == ["x"]


def test_a_fence_that_is_not_closed_hides_the_rest() -> None:
    assert targets("[[a]]\n```\n[[x]]\n") == ["a"]


def test_places_are_those_of_the_text() -> None:
    text = "`[[x]]` é ![[ Tea#part |label]]."
    (link,) = wiki_links(text)
    assert text[link.start : link.end] == "![[ Tea#part |label]]"
    assert text[link.target_start : link.target_end] == "Tea#part"
    assert len(hide(text)) == len(text)


@pytest.mark.parametrize(
    "piece",
    ["[[", "`", "``` ", "$a", "<!--", "%%a", "[[a|", "\n```\n", "`\n\n", "\\", "$a \n\n", "$a ", "\n> ", "    a\n\n"],
)
def test_the_time_is_linear(piece: str) -> None:
    text = "[[a]] " + piece * (256 * 1024 // len(piece))
    began = time.process_time()
    wiki_links(text)
    assert time.process_time() - began < 2


def test_marks_of_growing_lengths_take_no_quadratic_time() -> None:
    text = "[[a]] " + " ".join("`" * length for length in range(1, 700))
    began = time.process_time()
    wiki_links(text)
    assert time.process_time() - began < 1
