"""`python -m tests.bench.graph.pinned CORE COMMAND...`: become that command, on that core."""

import os
import sys

if __name__ == "__main__":
    core = int(sys.argv[1])
    os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})
    os.execvp(sys.argv[2], sys.argv[2:])
