"""The time slice of a process: how long it may keep a core while others wait for one (Linux 6.12 or newer).

Which process gets how much of the cores is the matter of its niceness. But a process that wakes up only takes a core
at once from one whose slice is longer than its own. Otherwise it waits for the end of that slice or for the next tick
of the kernel's clock, which may be 4 ms away; a call that passes through several processes may wait so at each.
"""

import ctypes
import os
import platform
import struct
import sys

# The numbers of sched_setattr and sched_getattr, for which Python has no functions.
_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period. For an ordinary process (policy 0)
# the runtime is the slice, in nanoseconds.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")


def set_slice(pid: int, milliseconds: float) -> bool:
    """Set the slice of a process that has one thread yet: later threads and children have it, too.

    milliseconds: 0.1 to 100; the kernel's own choice is about 1 to 3.

    Returns False where the system has no such call, or the process has ended. Kernels before 6.12 ignore the slice.
    """
    calls = _calls()
    if calls is None:
        return False
    try:
        niceness = os.getpriority(os.PRIO_PROCESS, pid)
    except OSError:
        return False
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, 0, niceness, 0, round(milliseconds * 1_000_000), 0, 0)
    return bool(ctypes.CDLL(None).syscall(calls[0], pid, attributes, 0) == 0)


def slice_of(pid: int) -> float | None:
    """The slice of a process in milliseconds; None where the system does not know it."""
    calls = _calls()
    if calls is None:
        return None
    attributes = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if ctypes.CDLL(None).syscall(calls[1], pid, attributes, _ATTRIBUTES.size, 0) != 0:
        return None
    nanoseconds: int = _ATTRIBUTES.unpack(attributes.raw)[5]
    return nanoseconds / 1_000_000 if nanoseconds else None


def _calls() -> tuple[int, int] | None:
    return _CALLS.get(platform.machine()) if sys.platform == "linux" else None
