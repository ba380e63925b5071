"""What keeps one slow or dead dependency from taking the rest with it. Pure: no transport, no store, time injected.

retry (backoff with full jitter, within a budget), breaker (no calls to a dependency that fails), singleflight
(concurrent reads of one key become one), bulkhead (one user's work leaves room for that of others),
keyed (a semaphore for each key).
"""

from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff, RetryBudget, retry
from shared.resilience.singleflight import SingleFlight

__all__ = ["Backoff", "Breaker", "RetryBudget", "SingleFlight", "retry"]
