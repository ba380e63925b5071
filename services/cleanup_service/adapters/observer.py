"""What operators see of the sagas: a log line for each step, failure and end; and counts for the metrics."""

import logging
from collections import Counter
from collections.abc import Mapping

from services.cleanup_service.model.saga import Saga, State
from services.cleanup_service.ports import Observer

log = logging.getLogger("brain2.cleanup.saga")


class LogObserver:
    """ports.Observer. `event` in each line is what a metric filter counts (docs/operations.md)."""

    def step_done(self, saga: Saga, seconds: float) -> None:
        log.info("step done", extra=_fields(saga, "deletion_step_done", seconds))

    def stumbled(self, saga: Saga, seconds: float) -> None:
        log.warning("step failed: %s", saga.error, extra=_fields(saga, "deletion_step_failed", seconds))

    def over(self, saga: Saga) -> None:
        if saga.state is State.FAILED:
            log.error("deletion failed: %s", saga.error, extra=_fields(saga, "deletion_failed"))
        else:
            log.info("deletion over", extra=_fields(saga, f"deletion_{saga.state.lower()}"))


class CountingObserver:
    """ports.Observer that counts and hands on. stumbles: attempts at a step that failed."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner
        self._ends: Counter[str] = Counter()
        self.stumbles = 0

    def ended(self) -> Mapping[str, int]:
        """Deletions that this process brought to an end, by that end."""
        return {state.lower(): self._ends[state] for state in (State.DONE, State.FAILED, State.CANCELLED)}

    def step_done(self, saga: Saga, seconds: float) -> None:
        self._inner.step_done(saga, seconds)

    def stumbled(self, saga: Saga, seconds: float) -> None:
        self.stumbles += 1
        self._inner.stumbled(saga, seconds)

    def over(self, saga: Saga) -> None:
        self._ends[saga.state] += 1
        self._inner.over(saga)


def _fields(saga: Saga, event: str, seconds: float | None = None) -> dict[str, object]:
    fields: dict[str, object] = {
        "event": event,
        "user_id": saga.user_id,
        "node_id": saga.node_id,
        "version": saga.version,
        "state": str(saga.state),
        "step": str(saga.step),
        "attempts": saga.attempts,
    }
    return fields if seconds is None else {**fields, "seconds": round(seconds, 3)}
