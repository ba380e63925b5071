"""gRPC in Brain2: a server whose methods are composed at start-up, a client with deadlines, retries and breakers.

status: errors and statuses. deadline: the time that the current call has left. middleware: the chain around every
method. tracing: spans of recorded calls. server and health: the serving side. client: the calling side. The promises
to callers are in docs/contracts.md.
"""
