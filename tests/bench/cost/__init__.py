"""`make bench-cost`: what each operation costs on AWS, counted by a proxy in front of the stores.

units.py has DynamoDB's rules, proxy.py counts by them, operations.py runs the operations, original.py computes the same
operations for the original schema, __main__.py writes docs/bench/cost.json, and report.py makes the section of
docs/performance.md from it with the prices of docs/capacity.json.
The numbers are counts and not times: the speed of the machine does not change them.
"""
