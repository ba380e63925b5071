"""What operators see of the sagas: a log line for each step, failure and end; alarms count the lines by their event."""

import logging

from services.cleanup_service.model.saga import Saga, State

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
