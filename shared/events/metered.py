"""The metrics of a consumer and of an outbox (docs/operations.md, Metrics)."""

from shared.events.consumer import Consumer
from shared.events.outbox import Outbox
from shared.metrics import Across, Metrics

# Keys of the counts; all are sent from the start, so that a rate can be computed at the first event.
OUTCOMES = ("received", "handled", "unknown", "dead", "postponed")
ENDS = ("published", "refused", "left", "overflow", "swept")


def watch_consumer(metrics: Metrics, consumer: Consumer) -> None:
    """Lag, messages in flight, depths of its queue and dead-letter queue, outcomes of its messages."""
    metrics.gauge("brain2.consumer.lag", "s", consumer.lag, across=Across.MAX)
    metrics.gauge("brain2.consumer.in_flight", "{message}", lambda: consumer.in_flight)
    metrics.counter(
        "brain2.consumer.messages",
        "{message}",
        lambda: {name: consumer.counts[name] for name in OUTCOMES},
        by="brain2.outcome",
    )
    metrics.gauge("brain2.queue.depth", "{message}", consumer.depth, by="brain2.state", across=Across.MAX)
    metrics.gauge("brain2.dlq.depth", "{message}", consumer.dead_letters, across=Across.MAX)


def watch_outbox(metrics: Metrics, outbox: Outbox) -> None:
    """Events in flight, age of the oldest event, outcomes of the events."""
    metrics.gauge("brain2.outbox.queued", "{event}", lambda: outbox.queued)
    metrics.gauge("brain2.outbox.age", "s", outbox.age, across=Across.MAX)
    metrics.counter(
        "brain2.outbox.events", "{event}", lambda: {name: outbox.counts[name] for name in ENDS}, by="brain2.outcome"
    )
