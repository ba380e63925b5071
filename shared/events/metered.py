"""What a consumer and an outbox tell of themselves (docs/operations.md, Metrics)."""

from shared.events.consumer import Consumer
from shared.events.outbox import Outbox
from shared.metrics import Metrics

# Of the consumer's and the outbox's counts; all are sent from the start, so that a rate can be taken of the first one.
OUTCOMES = ("received", "handled", "unknown", "dead", "postponed")
ENDS = ("published", "refused", "left", "overflow", "swept")


def watch_consumer(metrics: Metrics, consumer: Consumer) -> None:
    """Lag, depth of its queue and its dead letters, what became of its messages."""
    metrics.gauge("brain2.consumer.lag", "s", consumer.lag)
    metrics.gauge("brain2.consumer.in_hand", "{message}", lambda: consumer.in_flight)
    metrics.counter(
        "brain2.consumer.messages",
        "{message}",
        lambda: {name: consumer.counts[name] for name in OUTCOMES},
        by="brain2.outcome",
    )
    metrics.gauge("brain2.queue.depth", "{message}", consumer.depth, by="brain2.state")
    metrics.gauge("brain2.dlq.depth", "{message}", consumer.dead_letters)


def watch_outbox(metrics: Metrics, outbox: Outbox) -> None:
    """What is on its way, how old the oldest that was left is, what became of the events."""
    metrics.gauge("brain2.outbox.queued", "{event}", lambda: outbox.queued)
    metrics.gauge("brain2.outbox.age", "s", outbox.age)
    metrics.counter(
        "brain2.outbox.events", "{event}", lambda: {name: outbox.counts[name] for name in ENDS}, by="brain2.outcome"
    )
