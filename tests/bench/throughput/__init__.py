"""`make bench-throughput`: calls a second and processor a call, with one and two processes a service.

Everything shares this machine, so calls a second are what it gives beside its own load and stores. Processor a call is
what the services' processes took, by the kernel's account in nanoseconds, with the work in the background that a write
leaves behind; what they take while idle is subtracted. From it follow the calls of one core and the cores of a rate.

A stack with one process a service and one with two run at the same time. A measurement is made of one after the other,
in rounds, and so is that of a bare grpc.aio echo of the same bytes, with one and with two processes: when the machine
becomes slower, both sides of a ratio do. Ratios are those of each round; numbers are medians of the rounds.

GetNeighbors is answered from memory. The mixes are those of tests/bench/graph/mixes.py: LinkBench (SIGMOD 2013) and TAO
(USENIX ATC 2013). Loads are closed loops of a fixed number of calls: so many are in flight for each process, on up to
eight connections for each process.
"""
