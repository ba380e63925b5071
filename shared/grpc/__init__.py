"""gRPC as Brain2 uses it: a server with its rules composed at start-up, a client with deadlines, retries and breakers.

status: errors <-> statuses. deadline: the current call's time. middleware: what stands around every method. server,
health: the serving side. client: the calling side. docs/contracts.md says what callers may rely on.
"""
