"""What cleanup does: take in deletions, run their sagas, watch the queues; erase, export and reconcile users."""
