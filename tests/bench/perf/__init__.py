"""`make perf`: the promised latencies, on the whole stack as `make run` starts it; the exit code is 1 if one is broken.

Four services, their stores and the caller share this machine. Each time is the client's, with gRPC and protobuf. Beside
each promise stands what the machine itself takes at the same moment (bare.py), so that a slow machine is seen as such.
"""
