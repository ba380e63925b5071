"""What keeps one slow or dead dependency from taking the rest with it. Pure: no transport, no store, time injected.

retry (backoff with full jitter, within a budget), breaker (stop asking what doesn't answer), singleflight (concurrent
misses of one key are one read), bulkhead (a bounded share of the process for each dependency).
"""

from shared.resilience.breaker import Breaker
from shared.resilience.bulkhead import Bulkhead
from shared.resilience.retry import Backoff, RetryBudget, retry
from shared.resilience.singleflight import SingleFlight

__all__ = ["Backoff", "Breaker", "Bulkhead", "RetryBudget", "SingleFlight", "retry"]
