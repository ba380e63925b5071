"""The failures of messages that this process knows of: how long a message waits after one, and when it is given up.

SQS counts receives, and a receive is not a try: a process that is killed has used up one receive of every message that
it held. So a message is given up after five known failures, and the queue's maxReceiveCount is an outer bound only
(docs/adr/0091).
"""

from collections import OrderedDict
from collections.abc import Sequence

from shared.errors import Aborted, ResourceExhausted
from shared.events.queue import Message

# Failures after which a message is a dead letter.
MOST_FAILURES = 5
# maxReceiveCount of the queues (deploy/aws/brain2.yaml).
MOST_RECEIVES = 10
# Seconds for which a message is hidden after its first, second ... failure: an outage of five minutes loses no message.
BACKOFFS = (2.0, 10.0, 60.0, 240.0, 240.0)
# The same, when another writer was first or a limit was reached. That soon ends, and says nothing against the message,
# so it does not count as a failure.
HINDRANCE_BACKOFFS = (1.0, 2.0, 4.0, 8.0, 16.0)
# Receives without a known failure, after which the message itself may be what ends its process.
_MOST_LOST = 3
# Messages whose failures are remembered.
_REMEMBERED = 50_000


class Failures:
    """backoffs: see BACKOFFS.

    remembered: messages that are known; the one that has not failed for longest is forgotten first.
    """

    def __init__(self, backoffs: Sequence[float] = BACKOFFS, remembered: int = _REMEMBERED) -> None:
        self._backoffs = backoffs
        self._remembered = remembered
        # Id of a message -> its failures and its hindrances.
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def add(self, message: Message, error: Exception) -> float:
        """Count a failure; the seconds for which the message is hidden then."""
        failures, hindrances = self._known.pop(message.id, (0, 0))
        if isinstance(error, Aborted | ResourceExhausted):
            hindrances += 1
            wait = _nth(HINDRANCE_BACKOFFS, hindrances)
        else:
            failures += 1
            wait = _nth(self._backoffs, failures)
        self._known[message.id] = failures, hindrances
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)
        # The last receives last for an outage, also if other processes know of the failures, or these are hindrances.
        return max(wait, _nth(self._backoffs, message.receives - (MOST_RECEIVES - MOST_FAILURES)))

    def are_enough(self, message: Message) -> bool:
        """Whether the message is to be given up."""
        return self._known.get(message.id, (0, 0))[0] >= MOST_FAILURES

    def is_suspect(self, message: Message) -> bool:
        """Whether the message was often received without a known failure: it may be what ended those processes."""
        return message.receives - 1 - sum(self._known.get(message.id, (0, 0))) >= _MOST_LOST

    def forget(self, message: Message) -> None:
        """The message is deleted."""
        self._known.pop(message.id, None)


def _nth(waits: Sequence[float], n: int) -> float:
    """The n-th of them, counted from one, or the last one; 0 below one."""
    return waits[min(n, len(waits)) - 1] if n > 0 else 0.0
