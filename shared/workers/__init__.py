"""Several processes of one service on one port: a supervisor and its workers (docs/adr/0085).

BRAIN2_WORKERS=1, the default, makes neither: the process is the service. Above 1 the process becomes a supervisor,
which serves no calls. It starts that many workers, replaces those that end, passes SIGTERM on, and serves the metrics
of all workers as those of one process. Workers share the port by SO_REUSEPORT and nothing else: they are replicas.
"""
