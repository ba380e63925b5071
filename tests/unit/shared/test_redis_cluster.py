"""The cluster client against servers that are scripted: redirections, moving slots, lost and new masters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from shared.errors import Unavailable
from shared.ids import SystemClock
from shared.redis import Redis, ReplyError
from shared.redis.slots import SLOTS, parse_redirection, parse_slots, slot_of
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff
from tests.support.scripted_redis import At, Script, scripted
from tests.support.waiting import until


@dataclass
class Node:
    """One scripted master. slots: what it serves, by its own view; elsewhere: slot -> the error that it answers."""

    cluster: "Nodes"
    slots: set[int] = field(default_factory=set)
    elsewhere: dict[int, bytes] = field(default_factory=dict)
    importing: set[int] = field(default_factory=set)
    server: Script = field(init=False)
    asking: bool = False
    reads: int = 0
    scripts: set[bytes] = field(default_factory=set)

    @property
    def port(self) -> int:
        return self.server.port

    def respond(self, command: list[bytes]) -> bytes | None:
        name = command[0]
        if name == b"CLUSTER":
            self.reads += 1
            return self.cluster.shown()
        if name == b"ASKING":
            self.asking = True
            return b"+OK\r\n"
        asked, self.asking = self.asking, False
        if name == b"PUBLISH":
            return b":1\r\n"
        slot = slot_of(tuple(part if at else part.decode() for at, part in enumerate(command)))
        assert slot is not None
        if slot in self.elsewhere:
            return self.elsewhere[slot]
        if not (slot in self.slots or (asked and slot in self.importing)):
            return b"-MOVED %d 127.0.0.1:%d\r\n" % (slot, self.cluster.owner(slot).port)
        if name == b"EVALSHA" and command[1] not in self.scripts:
            return b"-NOSCRIPT No matching script\r\n"
        return b"+%d:%b\r\n" % (self.port, command[1])

    @property
    def answered(self) -> list[bytes]:
        """The commands about keys that reached it."""
        return [b" ".join(command) for command in self.server.heard if command[0] not in (b"CLUSTER",)]


@dataclass
class Nodes:
    nodes: list[Node] = field(default_factory=list)
    # What CLUSTER SLOTS shows, where that is not what the nodes serve.
    map: list[Node] | None = None

    def owner(self, slot: int) -> Node:
        return next(node for node in self.nodes if slot in node.slots)

    def of(self, key: str) -> Node:
        return self.owner(number(key))

    def shown(self) -> bytes:
        parts = []
        for node in self.nodes if self.map is None else self.map:
            ranges = _ranges(sorted(node.slots))
            parts += [
                b"*3\r\n:%d\r\n:%d\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nid\r\n" % (first, last, node.port)
                for first, last in ranges
            ]
        return b"*%d\r\n%b" % (len(parts), b"".join(parts))

    def move(self, key: str, to: Node) -> None:
        slot = number(key)
        self.owner(slot).slots.remove(slot)
        to.slots.add(slot)

    @property
    def reads(self) -> int:
        """How often the map was read."""
        return sum(node.reads for node in self.nodes)


def _ranges(slots: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def number(key: str) -> int:
    slot = slot_of(("GET", key))
    assert slot is not None
    return slot


@contextlib.asynccontextmanager
async def cluster(masters: int = 3, empty: int = 0) -> AsyncIterator[Nodes]:
    """masters that share the slots, and servers without any."""
    made = Nodes()
    async with contextlib.AsyncExitStack() as stack:
        for place in range(masters + empty):
            node = Node(made, _share(place, masters))
            node.server = await stack.enter_async_context(scripted(node.respond))
            made.nodes.append(node)
        yield made


def _share(place: int, masters: int) -> set[int]:
    size = -(-SLOTS // masters)
    return set(range(place * size, min((place + 1) * size, SLOTS)))


def client(nodes: Nodes, **options: object) -> Redis:
    given: dict[str, object] = {"timeout": 5.0, "backoff": Backoff(0.001, 0.01), **options}
    return Redis(At(f"redis://127.0.0.1:{nodes.nodes[0].port}", redis_cluster=True), **given)  # type: ignore[arg-type]


KEYS = [f"{{user{n}}}:k" for n in range(90)]


async def test_a_call_goes_to_the_owner_of_its_key_with_all_that_go_there() -> None:
    async with cluster() as nodes, client(nodes) as redis:
        for node in nodes.nodes:
            node.server.chunks.clear()
        replies = await asyncio.gather(*(redis.call("GET", key) for key in KEYS))
        assert replies == [b"%d:%b" % (nodes.of(key).port, key.encode()) for key in KEYS]
        assert [len(node.server.chunks) for node in nodes.nodes] == [1, 1, 1]
        assert nodes.reads == 1


async def test_a_pipeline_is_one_write_to_each_owner_and_replies_in_order() -> None:
    async with cluster() as nodes, client(nodes) as redis:
        for node in nodes.nodes:
            node.server.chunks.clear()
        replies = await redis.pipeline([("GET", key) for key in KEYS])
        assert replies == [b"%d:%b" % (nodes.of(key).port, key.encode()) for key in KEYS]
        assert [len(node.server.chunks) for node in nodes.nodes] == [1, 1, 1]


async def test_a_slot_that_moved_is_followed_and_the_map_is_read_once_for_all_calls() -> None:
    async with cluster() as nodes, client(nodes) as redis:
        moved = [key for key in KEYS if nodes.of(key) is nodes.nodes[0]]
        assert len(moved) > 10
        for key in moved:
            nodes.move(key, nodes.nodes[1])
        replies = await asyncio.gather(*(redis.call("GET", key) for key in KEYS))
        assert replies == [b"%d:%b" % (nodes.of(key).port, key.encode()) for key in KEYS]
        await until(lambda: nodes.reads >= 2)
        nodes.nodes[0].server.heard.clear()
        await asyncio.gather(*(redis.call("GET", key) for key in moved))
        assert nodes.nodes[0].answered == []
        assert nodes.reads == 2


async def test_a_moved_slot_is_known_before_the_map_is_read_again() -> None:
    async with cluster() as nodes, client(nodes) as redis:
        key = KEYS[0]
        before, after = nodes.of(key), next(node for node in nodes.nodes if node is not nodes.of(key))
        nodes.move(key, after)
        await redis.call("GET", key)
        await redis.call("GET", key)
        assert (len(before.answered), len(after.answered)) == (1, 2)


async def test_commands_of_a_pipeline_are_redirected_in_their_order() -> None:
    async with cluster() as nodes, client(nodes) as redis:
        key = next(key for key in KEYS if nodes.of(key) is nodes.nodes[0])
        other = next(key for key in KEYS if nodes.of(key) is nodes.nodes[2])
        nodes.move(key, nodes.nodes[1])
        replies = await redis.pipeline([("SET", key, 1), ("GET", other), ("INCR", key), ("GET", key)])
        here, there = (b"%d:%b" % (nodes.of(one).port, one.encode()) for one in (key, other))
        assert replies == [here, there, here, here]
        assert [command.split()[0] for command in nodes.nodes[1].answered] == [b"SET", b"INCR", b"GET"]


async def test_a_key_on_its_way_is_asked_for_at_its_target_and_the_map_stays() -> None:
    async with cluster(2, empty=1) as nodes, client(nodes) as redis:
        key = next(key for key in KEYS if nodes.of(key) is nodes.nodes[0])
        target = nodes.nodes[2]
        target.importing.add(number(key))
        nodes.nodes[0].elsewhere[number(key)] = b"-ASK %d 127.0.0.1:%d\r\n" % (number(key), target.port)
        for _ in range(2):
            assert await redis.call("GET", key) == b"%d:%b" % (target.port, key.encode())
        assert await redis.pipeline([("GET", key)]) == [b"%d:%b" % (target.port, key.encode())]
        assert target.answered == [b"ASKING", b"GET " + key.encode()] * 3
        assert nodes.reads == 1


async def test_keys_between_two_servers_are_tried_again_until_they_are_together() -> None:
    async with cluster() as nodes:
        breaker = Breaker("redis", SystemClock(), failures=1)
        async with client(nodes, breaker=breaker, timeout=1.0) as redis:
            key, node = KEYS[0], nodes.of(KEYS[0])
            node.elsewhere[number(key)] = b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
            call = asyncio.create_task(redis.call("MGET", key, key))
            await until(lambda: call.done() or len(node.answered) > 2)
            del node.elsewhere[number(key)]
            assert await call == b"%d:%b" % (node.port, key.encode())
            node.elsewhere[number(key)] = b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
            with pytest.raises(Unavailable, match="TRYAGAIN"):
                await redis.call("MGET", key, key)
            assert {each.state for each in redis.breakers} == {"closed"}


async def test_a_cluster_that_is_down_fails_calls_at_once_and_its_map_is_read_again() -> None:
    async with cluster() as nodes, client(nodes) as redis:
        key, node = KEYS[0], nodes.of(KEYS[0])
        node.elsewhere[number(key)] = b"-CLUSTERDOWN The cluster is down\r\n"
        with pytest.raises(Unavailable, match="CLUSTERDOWN"):
            await redis.call("GET", key)
        assert len(node.answered) == 1
        await until(lambda: nodes.reads == 2)


async def test_redirections_without_end_do_end() -> None:
    async with cluster(2) as nodes, client(nodes) as redis:
        slot, (one, other) = number(KEYS[0]), nodes.nodes
        one.elsewhere[slot] = b"-MOVED %d 127.0.0.1:%d\r\n" % (slot, other.port)
        other.elsewhere[slot] = b"-MOVED %d 127.0.0.1:%d\r\n" % (slot, one.port)
        with pytest.raises(Unavailable, match="redirects"):
            await redis.call("GET", KEYS[0])


async def test_a_lost_master_keeps_no_call_from_the_others_and_its_successor_is_found() -> None:
    lost: list[bool] = []
    breaker = Breaker("redis", SystemClock(), failures=1, cooldown=60.0)
    async with cluster(3, empty=1) as nodes, client(nodes, breaker=breaker) as redis:
        redis.on_lost(lambda: lost.append(True))
        dead, successor = nodes.nodes[1], nodes.nodes[3]
        theirs = [key for key in KEYS if nodes.of(key) is dead]
        others = [key for key in KEYS if nodes.of(key) is not dead]
        dead.server.refuses = True
        for writer in dead.server.writers:
            writer.transport.abort()
        await until(lambda: lost)
        for _ in range(5):
            failed = await asyncio.gather(*(redis.call("GET", key) for key in theirs), return_exceptions=True)
            assert {type(result) for result in failed} == {Unavailable}
        assert len(await asyncio.gather(*(redis.call("GET", key) for key in others))) == len(others)
        assert redis.available
        mixed = await redis.pipeline([("GET", theirs[0]), ("GET", others[0])], return_errors=True)
        assert (type(mixed[0]), mixed[1]) == (Unavailable, b"%d:%b" % (nodes.of(others[0]).port, others[0].encode()))
        with pytest.raises(Unavailable):
            await redis.pipeline([("GET", theirs[0])], return_errors=True)
        lost.clear()
        successor.slots, dead.slots = dead.slots, set()

        async def found() -> bool:
            with contextlib.suppress(Unavailable):
                return bool(await redis.call("GET", theirs[0]) == b"%d:%b" % (successor.port, theirs[0].encode()))
            return False

        await until(found)
        # Another server serves: what was cached on the lost one may have lost invalidations.
        assert lost
        assert len(redis.breakers) == 3


async def test_a_message_is_published_by_any_master_that_is_there() -> None:
    """Whichever master is lost, and also while nobody serves its slots: all subscribers hear what another publishes."""
    breaker = Breaker("redis", SystemClock(), failures=1, cooldown=60.0)
    channels = [f"channel{n}" for n in range(30)]
    async with cluster() as nodes, client(nodes, breaker=breaker) as redis:
        lost: list[bool] = []
        redis.on_lost(lambda: lost.append(True))
        dead = nodes.nodes[1]
        dead.server.refuses = True
        for writer in dead.server.writers:
            writer.transport.abort()
        await until(lambda: lost)
        assert any(nodes.of(channel) is dead for channel in channels)
        assert [await redis.call("PUBLISH", channel, "news") for channel in channels] == [1] * len(channels)
        nodes.map, reads = [nodes.nodes[0], nodes.nodes[2]], nodes.reads
        with pytest.raises(Unavailable):
            await redis.call("GET", next(key for key in KEYS if nodes.of(key) is dead))
        await until(lambda: nodes.reads > reads)
        replies = await redis.pipeline([("PUBLISH", channel, "news") for channel in channels])
        assert replies == [1] * len(channels)


async def test_every_instance_is_each_master_by_a_map_that_is_fresh() -> None:
    async with cluster(2, empty=1) as nodes, client(nodes) as redis:
        nodes.nodes[2].slots = {slot for slot in nodes.nodes[0].slots if slot % 2}
        nodes.nodes[0].slots -= nodes.nodes[2].slots
        for node in nodes.nodes:
            node.elsewhere[number("server")] = b"+%d\r\n" % node.port
        replies = await redis.every_instance("INFO", "server")
        assert sorted(replies) == sorted(str(node.port).encode() for node in nodes.nodes)
        nodes.map = nodes.nodes[:2]
        with pytest.raises(Unavailable):
            await redis.every_instance("INFO", "server")


async def test_an_address_that_is_no_member_is_left_once_it_has_shown_the_members() -> None:
    async with cluster(2) as nodes, cluster(2) as door:
        door.map = nodes.nodes
        async with client(door) as redis:
            assert await redis.call("GET", KEYS[0]) == b"%d:%b" % (nodes.of(KEYS[0]).port, KEYS[0].encode())
            await until(lambda: door.nodes[0].server.writers[0].transport.is_closing())
            assert len(redis.breakers) == 2
            for node in nodes.nodes:
                node.elsewhere[number("server")] = b"+here\r\n"
            assert await redis.every_instance("INFO", "server") == [b"here", b"here"]
            assert door.nodes[0].server.connections == 1


async def test_a_service_starts_without_its_cluster_and_finds_it_later() -> None:
    async with cluster() as nodes:
        nodes.map = []
        async with client(nodes) as redis:
            assert not redis.available
            with pytest.raises(Unavailable):
                await redis.call("GET", KEYS[0])
            nodes.map = None
            await until(lambda: redis.available)
            assert await redis.call("GET", KEYS[0])


async def test_a_script_is_sent_to_the_server_that_does_not_know_it() -> None:
    async with cluster() as nodes, client(nodes) as redis:
        script = redis.script("return 1")
        key, node = KEYS[0], nodes.of(KEYS[0])
        await script(keys=[key])
        assert [command.split()[0] for command in node.answered] == [b"EVALSHA", b"EVAL"]
        assert [other.answered for other in nodes.nodes if other is not node] == [[], []]
        replies = await redis.pipeline([script.command([key]), ("GET", key)])
        assert len(replies) == 2
        with pytest.raises(ReplyError, match="NOSCRIPT"):
            await redis.call("EVALSHA", "0" * 40, 1, key)


@pytest.mark.parametrize(
    ("command", "same"),
    [
        (("GET", "{a}1"), "{a}"),
        (("MGET", b"{a}1", "{a}2"), "a"),
        (("GET", "{}a"), "{}a"),
        (("GET", 7), "7"),
        (("EVALSHA", "sha", 1, "{a}x", "b"), "a"),
        (("XREAD", "COUNT", 1, "STREAMS", "{a}x", "0"), "a"),
        (("XINFO", "STREAM", "{a}x"), "a"),
        (("ZUNION", 1, "{a}x"), "a"),
    ],
)
def test_the_slot_is_that_of_the_first_key(command: tuple[str | bytes | int, ...], same: str) -> None:
    assert slot_of(command) == slot_of(("GET", same))


def test_slots_are_those_of_the_cluster_specification() -> None:
    assert (slot_of(("GET", "123456789")), slot_of(("GET", "foo"))) == (12739, 12182)
    assert slot_of(("PING",)) is None
    assert slot_of(("PUBLISH", "channel", "news")) is None
    assert slot_of(("EVAL", "return 1", 0)) == slot_of(("GET", "return 1"))


def test_a_server_that_leaves_its_own_host_out_is_where_it_was_asked() -> None:
    reply = [[0, 1, [b"", 7000, b"id"], [b"10.0.0.2", 7001, b"id"]], [2, 3, [None, 7002, b"id"]]]
    assert parse_slots([*reply, [4, 4, [b"?", 7003]], [5, 5, [b"h", 7004]]], "asked") == [
        (0, 1, "asked", 7000),
        (2, 3, "asked", 7002),
        (4, 4, "asked", 7003),
        (5, 5, "h", 7004),
    ]
    assert parse_redirection("MOVED 3999 :6381", "asked") == (3999, "asked", 6381)
    assert parse_redirection("ASK 3999 ::1:6381", "asked") == (3999, "::1", 6381)
