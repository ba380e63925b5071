"""`make bench-similarity`: adding, finding, searching and loading, in process and over gRPC, beside what one would pick
instead. Writes docs/bench/similarity.json and the table in docs/performance.md."""
