"""Progress of sagas for operators: a log line for each step, failed attempt and end, and counts for the metrics."""

import logging
from collections import Counter
from collections.abc import Mapping

from services.cleanup_service.model.saga import Saga, State
from services.cleanup_service.ports import Observer

log = logging.getLogger("brain2.cleanup.saga")


class LogObserver:
    """ports.Observer as log lines. Metric filters count them by the field `event` (docs/operations.md)."""

    def step_done(self, saga: Saga, seconds: float) -> None:
        log.info("step done", extra=_fields(saga, "deletion_step_done", seconds))

    def attempt_failed(self, saga: Saga, seconds: float) -> None:
        log.warning("step failed: %s", saga.error, extra=_fields(saga, "deletion_step_failed", seconds))

    def ended(self, saga: Saga) -> None:
        if saga.state is State.FAILED:
            log.error("deletion failed: %s", saga.error, extra=_fields(saga, "deletion_failed"))
        else:
            log.info("deletion ended", extra=_fields(saga, f"deletion_{saga.state.lower()}"))


class CountingObserver:
    """ports.Observer that counts and forwards. failed_attempts: number of attempts at a step that failed."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner
        self._ended: Counter[str] = Counter()
        self.failed_attempts = 0

    def outcomes(self) -> Mapping[str, int]:
        """How many deletions ended in this process, by their final state."""
        return {state.lower(): self._ended[state] for state in (State.DONE, State.FAILED, State.CANCELLED)}

    def step_done(self, saga: Saga, seconds: float) -> None:
        self._inner.step_done(saga, seconds)

    def attempt_failed(self, saga: Saga, seconds: float) -> None:
        self.failed_attempts += 1
        self._inner.attempt_failed(saga, seconds)

    def ended(self, saga: Saga) -> None:
        self._ended[saga.state] += 1
        self._inner.ended(saga)


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
