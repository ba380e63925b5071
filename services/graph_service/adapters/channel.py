"""What other processes' writes tell this one, through Redis pub/sub."""

import logging

from services.graph_service.adapters.lists import parse_message
from services.graph_service.usecases.adjacency import Adjacency
from services.graph_service.usecases.existence import Existence
from services.graph_service.usecases.l1 import L1
from services.graph_service.usecases.watch import Watch

log = logging.getLogger(__name__)


class Channel:
    """Callbacks of a Subscription. While nothing is heard, memory serves nothing: see L1."""

    def __init__(self, adjacency: Adjacency, existence: Existence, watch: Watch, l1: L1) -> None:
        self._adjacency = adjacency
        self._existence = existence
        self._watch = watch
        self._l1 = l1

    def on_ready(self) -> None:
        self._l1.reopen()

    def on_lost(self) -> None:
        self._l1.close()

    def on_message(self, channel: bytes, data: bytes) -> None:
        try:
            kind, user, notes = parse_message(data)
        except ValueError:
            log.warning("a message on the channel of invalidations can't be read")
            self._l1.close()  # whatever it meant to say
            self._l1.reopen()
            return
        self._adjacency.invalidate(user, notes)
        self._watch.told(user)
        if kind == "G":
            self._existence.forget(user, notes)
