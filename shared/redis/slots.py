"""Which slot of a cluster a command belongs to, and which server serves which slots.

Library: redis-py's key_slot() computes the slot of a key.
"""

from typing import Any

from redis.crc import key_slot

from shared.redis.connection import Argument, Command

SLOTS = 16_384
# Commands whose first key is not the first argument: its place. Where the place of a key follows from another argument
# (EVAL, XREAD) see slot_of().
_PLACES: dict[Argument, int] = {
    **dict.fromkeys(("XINFO", "XGROUP", "OBJECT", "MEMORY", "BITOP"), 2),
    **dict.fromkeys(("LMPOP", "SINTERCARD", "ZDIFF", "ZINTER", "ZINTERCARD", "ZMPOP", "ZUNION"), 2),
    **dict.fromkeys(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"), 3),
}
_STREAMS = ("XREAD", "XREADGROUP")


def slot_of(args: Command) -> int | None:
    """The slot of the command's first key; None for PUBLISH and for a command without arguments: any server will do.

    The command's name is in capitals. Other commands with arguments and without a key (ECHO) get the slot of their
    first argument. A wrong slot costs a redirection, no more.
    """
    name = args[0]
    if name == "PUBLISH":  # all subscribers of the cluster hear it
        return None
    place = _PLACES.get(name, 1)
    if name in _STREAMS:
        place = next((at for at, part in enumerate(args) if part in ("STREAMS", b"STREAMS")), 0) + 1
    elif place == 3 and (len(args) < 4 or str(args[2]) == "0"):
        place = 1
    if place >= len(args):
        return None
    key: Argument = args[place]
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


def parse_slots(reply: Any, asked: str) -> list[tuple[int, int, str, int]]:
    """The masters in a reply to CLUSTER SLOTS: first slot, last slot, host, port.

    asked: the host of the server that replied, which it may leave out for itself or does not know.
    """
    found = []
    for first, last, master, *_ in reply:
        host = (master[0] or b"").decode()
        found.append((int(first), int(last), asked if host in ("", "?") else host, int(master[1])))
    return found


def parse_redirection(text: str, asked: str) -> tuple[int, str, int]:
    """Slot, host and port in "MOVED 3999 127.0.0.1:6381" or "ASK ...". asked: as for parse_slots()."""
    _, slot, address = text.split(" ")[:3]
    host, _, port = address.rpartition(":")
    return int(slot), asked if host in ("", "?") else host.strip("[]"), int(port)
