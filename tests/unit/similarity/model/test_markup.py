"""Which parts of a text are code or markup, and that finding them is linear."""

import time

import pytest

from services.similarity_service.model.analysis import analyser
from services.similarity_service.model.markup import LOUD, QUIET, VALUE, segments


def quiet(text: str) -> list[str]:
    return [part for part, silent in segments(text) if silent]


def loud(text: str) -> str:
    return " ".join(" ".join(part for part, silent in segments(text) if not silent).split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a `b` c ``x ` y`` d ` e", ["`b`", "``x ` y``"]),
        ("```js\nfoo\n```\nend", ["```js\nfoo\n```"]),
        ("- item\n  ```\n  code\n  ```\nafter", ["  ```\n  code\n  ```"]),
        ("~~~~\n```\n~~~~\nx", ["~~~~\n```\n~~~~"]),
        ("```\nnever closed", ["```\nnever closed"]),
        ("para\n\n    code\n    more\n\ntext", ["    code\n    more\n\n"]),
        ("- list\n\n    goes on", []),
        ("![image.png](../a.png) ![[p.png]] ![[Note]] [[Note]]", ["![image.png]("+ "../a.png)", "![[p.png]]"]),
        ("[text](http://x.y/z (1)) on", ["(http://x.y/z (1))"]),
        ("$5 and $10, $x^2$ $$y$$ \\(z\\)", ["$x^2$", "$$y$$", "\\(z\\)"]),
        ("Status:: open\nstd::vector x", ["Status::", " open"]),
        ("due [day:: now] or (a:: b)", ["[day::", " now]", "(a::", " b)"]),
        ("---\ntitle: x\n---\nbody", ["---\ntitle: x\n---\n"]),
        ("see https://a.b/c?d=e and www.foo.com/x", ["https://a.b/c?d=e", "www.foo.com/x"]),
        ("<pre>code</pre> text", ["code"]),
    ],
)  # fmt: skip
def test_quiet(text: str, expected: list[str]) -> None:
    assert quiet(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<div class='a'>hello <b>you</b><br/>&nbsp;</div>", "hello you"),
        ("x < y and List<String>", "x < y and List<String>"),
        ("<!-- c --> z <script>var x</script> y", "z y"),
        ("![](data:image/png;base64,/T/rP+JJ==) z data:image/png;base64,AA/B+c= end", "z end"),
    ],
)
def test_dropped(text: str, expected: str) -> None:
    assert (loud(text), quiet(text)) == (expected, [])


UNITS = [
    "_",
    "`",
    "<a ",
    "<!--",
    "$a ",
    "[[",
    "](",
    "![",
    "http://",
    "a:: ",
    "\n\n    ",
    "<pre>",
    "\\begin{a}",
    "~~~\n",
]


@pytest.mark.parametrize(
    "unit", [*UNITS, "---\n", "[", "[a:: ", "data:a/b,", "<a data: ", "\\( ", "a.+", "@a", ".", "a@"]
)
def test_linear(unit: str) -> None:
    def seconds(size: int) -> float:
        text = ("a" + unit * size)[:size]
        begun = time.process_time()
        list(segments(text))
        analyser("english").terms(text)
        return time.process_time() - begun

    # A quadratic expression takes minutes for the longer one.
    assert seconds(200_000) < 20 * max(seconds(20_000), 0.05)


def test_the_value_of_a_property_is_a_part_of_its_own() -> None:
    assert list(segments("up:: Ana Quartz\nprose")) == [("up::", QUIET), (" Ana Quartz", VALUE), ("\nprose", LOUD)]
    assert list(segments("a (by:: Ana Quartz) b")) == [
        ("a ", LOUD), ("(by::", QUIET), (" Ana Quartz)", VALUE), (" b", LOUD),
    ]  # fmt: skip
    # A value that holds an address or code names nothing.
    for line in ("source:: https://example.org/ana-quartz", "query:: `ana quartz`"):
        assert list(segments(line)) == [(line, QUIET)]
