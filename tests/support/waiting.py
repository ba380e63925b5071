"""Waiting for a condition: the one place where tests poll what can't call them back (files, other processes)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def until(look: Callable[[], Awaitable[T]], *, seconds: float = 30.0, what: str = "it") -> T: ...
@overload
async def until(look: Callable[[], T], *, seconds: float = 30.0, what: str = "it") -> T: ...
async def until(look: Callable[[], T | Awaitable[T]], *, seconds: float = 30.0, what: str = "it") -> T:
    """The first true value that look() gives, asked again and again; an AssertionError after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = look()
                value: T = await found if isinstance(found, Awaitable) else found
                if value:
                    return value
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {seconds} s") from None
