"""Progress of deletions for operators: a log line for each step, failed attempt and stop, and counts for metrics."""

import logging
from collections import Counter
from collections.abc import Mapping

from services.cleanup_service.model.saga import Saga, State

log = logging.getLogger("brain2.cleanup.saga")


class DeletionObserver:
    """ports.Observer. Metric filters count the log lines by their field `event` (docs/operations.md).

    failed_attempts: number of attempts at a step that failed in this process.
    """

    def __init__(self) -> None:
        self._stopped: Counter[str] = Counter()
        self.failed_attempts = 0

    def outcomes(self) -> Mapping[str, int]:
        """How many deletions stopped in this process, by their state in lower case."""
        return {state.lower(): self._stopped[state] for state in (State.DONE, State.FAILED, State.CANCELLED)}

    def step_done(self, saga: Saga, seconds: float) -> None:
        log.info("step done", extra=_fields(saga, "deletion_step_done", seconds))

    def attempt_failed(self, saga: Saga, seconds: float) -> None:
        self.failed_attempts += 1
        log.warning("step failed: %s", saga.error, extra=_fields(saga, "deletion_step_failed", seconds))

    def stopped(self, saga: Saga) -> None:
        self._stopped[saga.state] += 1
        if saga.state is State.FAILED:
            log.error("deletion failed: %s", saga.error, extra=_fields(saga, "deletion_failed"))
        else:
            log.info("deletion ended", extra=_fields(saga, f"deletion_{saga.state.lower()}"))


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
