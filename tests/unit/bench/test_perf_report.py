"""Whether `make perf` fails when a promise is broken."""

import sys
from dataclasses import replace
from typing import Any

import grpc
import pytest

from tests.bench.graph import lookup, openloop
from tests.bench.perf.report import PROMISES, Promise, broken, table
from tests.bench.perf.scenarios import PARTS, Found, importing, steady
from tests.bench.perf.times import Times


def kept() -> Found:
    fast = Times(100, 1.0, 2.0, 3.0)
    return Found(
        times={each.operation: fast for each in PROMISES},
        beside={each.operation: fast for each in PROMISES if each.beside},
    )


def shown(found: Found) -> str:
    about = {"machine": "m", "corpus": "c", "date": "d"}
    return table({**about, **found.numbers(), "broken": broken(found)})


def test_nothing_is_broken_when_all_is_kept() -> None:
    assert broken(kept()) == []
    assert "broken" not in shown(kept())


def test_the_page_says_who_sends_the_transaction_beside_a_write() -> None:
    assert "the TransactWriteItems with aioboto3" in shown(kept())


@pytest.mark.parametrize("promise", PROMISES, ids=lambda each: each.operation)
def test_what_was_not_measured_is_a_broken_promise(promise: Promise) -> None:
    found = kept()
    del found.times[promise.operation]
    assert f"{promise.operation}: not measured" in broken(found)
    others = [part for part in PARTS if part != promise.part]
    assert broken(found, others) == [], "unless its part was left out"


@pytest.mark.parametrize("promise", [each for each in PROMISES if each.beside], ids=lambda each: each.operation)
def test_what_nothing_was_measured_beside_is_a_broken_promise(promise: Promise) -> None:
    found = kept()
    del found.beside[promise.operation]
    assert broken(found) == [f"{promise.operation}: not measured"]


async def _import(code: str, found: Found, *, wait: bool) -> None:
    async with importing([sys.executable, "-c", f"print('sending', flush=True); {code}"], found) as process:
        if wait:
            await process.wait()


async def test_an_import_that_dies_is_a_broken_promise() -> None:
    found = kept()
    await _import("raise SystemExit(3)", found, wait=True)
    assert broken(found) == ["the import beside which lookups were measured failed with 3"]


@pytest.mark.parametrize(("code", "wait"), [("pass", True), ("import signal; signal.pause()", False)])
async def test_an_import_may_be_done_or_still_at_work(code: str, wait: bool) -> None:
    found = kept()
    await _import(code, found, wait=wait)
    assert broken(found) == []


async def _refused() -> Any:
    nothing = grpc.aio.Metadata()
    raise grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, nothing, nothing)


async def test_a_lookup_that_finds_nothing_is_a_broken_promise() -> None:
    found = Found()
    await steady("look up, quiet stack", _refused, 0.02, found)
    assert found.wrong == ["look up, quiet stack: 4 of 4 calls failed"]


async def test_times_of_lookups_that_find_nothing_are_not_shown() -> None:
    with pytest.raises(RuntimeError, match="2 of 2 lookups failed"):
        await lookup.steady(_refused, 100, 0.02)


async def test_in_a_mix_a_refusal_is_an_answer() -> None:
    measured = await openloop.mix(lambda: ("one", _refused()), 100, 0.02)
    assert (measured["one"].refused, measured["one"].errors) == (2, 0)


@pytest.mark.parametrize(
    ("operation", "which", "value"),
    [
        (each.operation, which, limit)
        for each in PROMISES
        for which in ("p50", "p99")
        if (limit := getattr(each, which))
    ],
)
def test_a_time_at_its_limit_is_a_broken_promise(operation: str, which: str, value: float) -> None:
    found = kept()
    p50, p99 = (value, 2 * value) if which == "p50" else (1.0, value)
    found.times[operation] = Times(100, p50, p99, 3 * p99)
    assert any(line.startswith(f"{operation}: {which} is") for line in broken(found))


@pytest.mark.parametrize("promise", [each for each in PROMISES if each.ratio], ids=lambda each: each.operation)
def test_a_ratio_above_its_limit_is_a_broken_promise(promise: Promise) -> None:
    found = kept()
    assert promise.ratio is not None
    found.beside[promise.operation] = replace(found.beside[promise.operation], p50=1.0 / (promise.ratio + 0.01))
    (line,) = broken(found)
    assert f"times {promise.beside}" in line


def test_an_import_that_slows_lookups_down_is_a_broken_promise() -> None:
    found = kept()
    found.times["look up beside an import"] = Times(100, 1.0, 4.1, 5.0)
    (line,) = broken(found)
    assert "2.05 times" in line


def test_a_wrong_answer_is_a_broken_promise() -> None:
    found = kept()
    found.wrong.append("a note is missing")
    assert broken(found) == ["a note is missing"]
