"""How the tour draws."""

from deploy.local.demo.draw import bar, grow, highlighted, milliseconds, tree, window


def plain(text: str, _colour: str) -> str:
    return text


def starred(text: str, _colour: str) -> str:
    return f"*{text}*"


def test_bars() -> None:
    assert bar(0) == "        "
    assert bar(1) == "████████"
    assert bar(0.5) == "████    "
    assert bar(1.7) == bar(1)
    assert {len(bar(step / 100)) for step in range(101)} == {8}


def test_durations() -> None:
    assert milliseconds(0.123) == "0.12 ms"
    assert milliseconds(12.34) == "12.3 ms"
    assert milliseconds(2345) == "2.35 s"


def test_highlights() -> None:
    assert highlighted("green tea", [(6, 9), (0, 5)], starred) == "*green* *tea*"
    assert highlighted("green tea", [(0, 5), (3, 9), (8, 99), (4, 2)], starred) == "*green* tea"


def test_a_window_around_the_first_match() -> None:
    text = "0123456789" * 10
    assert window(text, [(50, 52), (90, 91)], 20) == (f"…{text[46:64]}…", [(5, 7)])
    assert window("short", [(0, 5)], 20) == ("short", [(0, 5)])
    assert window(text, [(98, 99), (2, 3)], 20) == (f"…{text[81:]}", [(18, 19)])
    assert window(text, [], 20) == (f"{text[:19]}…", [])


def test_a_note_hangs_on_its_heaviest_neighbour_one_hop_nearer() -> None:
    hops = {"root": 0, "a": 1, "b": 1, "c": 2, "d": 2}
    edges = [("root", "a", 0.9), ("b", "root", 0.5), ("a", "c", 0.2), ("c", "b", 0.3), ("d", "a", 0.1), ("c", "d", 1.0)]
    grown = grow("root", hops, edges)
    assert [child.name for child in grown.children] == ["a", "b"]
    assert [[child.name for child in branch.children] for branch in grown.children] == [["d"], ["c"]]


def test_what_has_no_room_is_counted() -> None:
    hops = {"root": 0} | {f"n{i}": 1 for i in range(9)}
    grown = grow("root", hops, [("root", f"n{i}", i / 10) for i in range(9)], widths=(2,))
    assert [child.name for child in grown.children] == ["n8", "n7"]
    assert grown.more == 7


def test_the_tree() -> None:
    hops = {"root": 0, "a": 1, "b": 1, "c": 2}
    grown = grow("root", hops, [("root", "a", 0.9), ("root", "b", 0.5), ("a", "c", 0.25)])
    lines = tree(grown, {"root": "Root", "a": "A"}, plain)
    assert lines == ["Root", "├─ A 0.90", "│  └─ c 0.25", "└─ b 0.50"]
