"""Measures the graph service: `make bench-graph` (ARGS="--quick" to see that it works; the numbers mean nothing then).

The services run on one core and the load on the other. Ratios are taken within a round, on servers that run side by
side, so that what else the machine does falls on both. Results: docs/bench/graph.json and the table in
docs/performance.md.
"""
