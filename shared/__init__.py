"""The technical kernel that every service stands on; it knows no context (import-linter holds it to that).

Pure, so the core of a context may use them: errors, ids, pages, resilience, events.envelope. Everything else is
plumbing for app.py and the adapters: config, logs, telemetry, lifecycle, grpc, aws, dynamo, redis, events, idempotency.
"""
