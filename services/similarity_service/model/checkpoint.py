"""Lets a deadline end long work on a text: the work calls checkpoint() as it goes, and whoever waits sets `stop`."""

import threading
from contextvars import ContextVar

# The event that ends the work of this context; None for work that nobody ends.
stop: ContextVar[threading.Event | None] = ContextVar("similarity_stop", default=None)
# Loops over tokens call checkpoint() after this many.
EVERY = 256


class Stopped(Exception):
    """The work was ended: nobody waits for its result."""


def checkpoint() -> None:
    """Raise Stopped when the work of this context is to end."""
    event = stop.get()
    if event is not None and event.is_set():
        raise Stopped
