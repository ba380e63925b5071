"""Becomes the given program after asking the kernel to send it SIGTERM when its parent dies (Linux).

`python -I -S tether.py PARENT_PID PROGRAM ARGUMENT...`. A program of its own rather than a hook between fork and exec:
the launcher has threads by then, and code that runs between the two could wait for a lock that no thread will release.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *argv = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have died before the call above.
    if os.getppid() != int(parent):
        sys.exit(1)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"{argv[0]} could not be started: {error.strerror}")


if __name__ == "__main__":
    main()
