"""The Redis client on real servers: what it answers, and how it comes through losing them."""

import asyncio
import contextlib
import random
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from shared.errors import Unavailable
from shared.ids import SystemClock
from shared.redis import Redis, ReplyError
from shared.redis.server import Server
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff
from tests.support import valkey
from tests.support.stores import Stores
from tests.support.waiting import until

INCREMENT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


@dataclass(frozen=True)
class At:
    redis_url: str
    redis_cluster: bool = False


def client(url: str, *, cluster: bool = False, **options: object) -> Redis:
    given: dict[str, object] = {"backoff": Backoff(0.01, 0.05), "timeout": 2.0, **options}
    return Redis(At(url, cluster), **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
async def redis(stores: Stores) -> AsyncIterator[Redis]:
    async with client(stores.redis_url) as found:
        yield found


async def test_replies_are_as_redis_sent_them(redis: Redis, user: str) -> None:
    assert await redis.call("SET", user, b"\x00\xff") == b"OK"
    assert await redis.call("GET", user) == b"\x00\xff"
    assert await redis.call("GET", f"{user}-none") is None
    assert await redis.call("STRLEN", user) == 2
    assert await redis.call("DEL", user) == 1
    await redis.call("ZADD", user, 1.5, "a", 2, "b")
    assert await redis.call("ZRANGE", user, 0, -1, "WITHSCORES") == [b"a", b"1.5", b"b", b"2"]
    await redis.call("HSET", f"{user}-h", "f", "naïve")
    assert await redis.call("HGETALL", f"{user}-h") == [b"f", "naïve".encode()]


async def test_a_large_value_comes_back_whole(redis: Redis, user: str) -> None:
    value = random.Random(1).randbytes(3_000_000)
    await redis.call("SET", user, value, "PX", 60_000)
    assert await redis.call("GET", user) == value


async def test_concurrent_callers_get_their_own_replies_whoever_is_cancelled(redis: Redis, user: str) -> None:
    rng = random.Random(3)

    async def one(number: int) -> None:
        key = f"{user}-{number % 50}"
        match number % 4:
            case 0:
                assert await redis.call("ECHO", str(number)) == str(number).encode()
            case 1:
                replies = await redis.pipeline([("ECHO", number), ("PING",), ("ECHO", key)])
                assert replies == [str(number).encode(), b"PONG", key.encode()]
            case 2:
                with pytest.raises(ReplyError):
                    await redis.call("INCR", key, "too", "many")
            case _:
                assert await redis.call("SET", key, number, "PX", 5000) == b"OK"

    tasks = [asyncio.create_task(one(number)) for number in range(3000)]
    for _ in range(200):
        await asyncio.sleep(0)
        rng.choice(tasks).cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
    assert sum(result is None for result in results) > 2500


async def test_it_runs_on_the_loop_that_the_services_use(tmp_path: Path) -> None:
    async def on_uvloop(server: valkey.Valkey) -> list[object]:
        async with client(server.url) as redis:
            first = await asyncio.gather(*(redis.call("ECHO", str(n)) for n in range(500)))
            server.freeze()
            call = asyncio.ensure_future(redis.call("ECHO", "late"))
            await asyncio.sleep(0)
            assert isinstance(redis._server, Server)
            assert redis._server._slots[0] is not None
            redis._server._slots[0].close()
            server.thaw()
            with contextlib.suppress(Unavailable):
                await call
            await until(lambda: redis.available)
            return [*first, *(await redis.pipeline([("PING",), ("ECHO", "again")]))]

    async with valkey.running(tmp_path / "v") as server:
        replies = await asyncio.to_thread(lambda: uvloop.run(on_uvloop(server)))
    assert replies == [*(str(n).encode() for n in range(500)), b"PONG", b"again"]


async def test_a_pipeline_answers_in_order_and_tells_of_errors_as_asked(redis: Redis, user: str) -> None:
    commands = [("SET", user, "text"), ("INCR", user), ("GET", user)]
    with pytest.raises(ReplyError):
        await redis.pipeline(commands)
    replies = await redis.pipeline(commands, return_errors=True)
    assert (replies[0], type(replies[1]), replies[2]) == (b"OK", ReplyError, b"text")
    assert await redis.pipeline([]) == []
    assert await redis.pipeline([("GET", user)]) == [b"text"]
    [error] = await redis.pipeline([("INCR", user)], return_errors=True)
    assert isinstance(error, ReplyError)


async def test_a_script_survives_the_server_forgetting_it(redis: Redis, user: str) -> None:
    script = redis.script(INCREMENT)
    assert await script(keys=[user], args=[2]) == 2
    await redis.call("SCRIPT", "FLUSH")
    assert await script(keys=[user], args=[3]) == 5
    await redis.call("SCRIPT", "FLUSH")
    assert await redis.pipeline([script.command([user], [1]), ("GET", user), script.command([user], [1])]) == [
        6,
        b"5",
        7,
    ]
    with pytest.raises(ReplyError, match="NOSCRIPT"):
        await redis.call("EVALSHA", "0" * 40, 0)


async def test_password_database_and_name_of_the_connection(tmp_path: Path) -> None:
    async with valkey.running(tmp_path / "v", requirepass="s3cr@t") as server:
        async with client(f"redis://:s3cr%40t@127.0.0.1:{server.port}/7", name="node") as redis:
            info = (await redis.call("CLIENT", "INFO")).decode()
            assert " db=7 " in info
            assert " name=node " in info
            pubsub = await redis.pubsub()
            await pubsub.subscribe("news")
            assert (await pubsub.get_message(timeout=10.0))["type"] == "subscribe"
            await pubsub.aclose()
        async with client(f"redis://:wrong@127.0.0.1:{server.port}") as redis:
            assert not redis.available


async def test_a_killed_server_is_noticed_and_found_again(tmp_path: Path) -> None:
    lost: list[bool] = []
    async with valkey.running(tmp_path / "v") as server, client(server.url) as redis:
        # By the time the listener is called, nobody can be told that Redis is there.
        redis.on_lost(lambda: lost.append(redis.available))
        await redis.call("SET", "a", "1")
        await server.kill()
        await until(lambda: lost)
        assert lost == [False]
        with pytest.raises(Unavailable):
            await redis.call("GET", "a")
        await server.start()
        await until(lambda: redis.available)
        assert await redis.call("GET", "a") is None
        assert len(lost) == 1


async def test_calls_under_way_end_when_the_server_is_killed(tmp_path: Path) -> None:
    async with valkey.running(tmp_path / "v") as server, client(server.url) as redis:
        server.freeze()
        calls = [asyncio.create_task(redis.call("INCR", "n")) for _ in range(100)]
        await asyncio.sleep(0)
        await server.kill()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {Unavailable}


async def test_a_frozen_server_costs_each_call_its_timeout_and_then_nothing(tmp_path: Path) -> None:
    breaker = Breaker("redis", SystemClock(), failures=3, cooldown=0.05, max_cooldown=0.05)
    async with valkey.running(tmp_path / "v") as server, client(server.url, timeout=0.1, breaker=breaker) as redis:
        await redis.call("SET", "a", "1")
        server.freeze()

        async def refused() -> bool:
            try:
                await redis.call("GET", "a")
            except Unavailable as error:
                return error.reason in ("BREAKER_OPEN", "REDIS_UNREACHABLE")
            return False

        await until(refused)
        server.thaw()

        async def answers() -> bool:
            try:
                return bool(await redis.call("GET", "a") == b"1")
            except Unavailable:
                return False

        await until(answers)


async def test_a_service_starts_without_redis_and_finds_it_later(tmp_path: Path) -> None:
    server = valkey.Valkey(tmp_path / "v")
    async with client(server.url) as redis:
        assert not redis.available
        with pytest.raises(Unavailable):
            await redis.call("PING")
        await server.start()
        try:
            await until(lambda: redis.available)
            assert await redis.call("PING") == b"PONG"
        finally:
            await server.kill()


async def test_closing_ends_what_is_under_way_and_reconnects_no_more(tmp_path: Path) -> None:
    async with valkey.running(tmp_path / "v") as server:
        redis = client(server.url)
        async with redis:
            server.freeze()
            call = asyncio.create_task(redis.call("GET", "a"))
            await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await call
        assert not redis.available


async def test_a_subscription_says_when_messages_may_have_been_missed(tmp_path: Path) -> None:
    heard: list[object] = []
    async with valkey.running(tmp_path / "v") as server, client(server.url) as redis:
        subscription = redis.subscribe(
            "news",
            "weather",
            on_message=lambda channel, data: heard.append((channel, data)),
            on_ready=lambda: heard.append("ready"),
            on_lost=lambda: heard.append("lost"),
        )
        hearing = asyncio.create_task(subscription.run())
        try:
            await until(lambda: subscription.ready)
            for n in range(3):
                await redis.call("PUBLISH", "news", str(n))
            await redis.call("PUBLISH", "weather", b"\x00")
            await until(lambda: len(heard) == 6)
            assert heard == ["lost", "ready", *((b"news", str(n).encode()) for n in range(3)), (b"weather", b"\x00")]
            heard.clear()
            await server.kill()
            await until(lambda: heard == ["lost"])
            await server.start()
            await until(lambda: heard[-1:] == ["ready"])
            # Whatever is published from "ready" on is heard.
            await until(lambda: redis.available)
            assert await redis.call("PUBLISH", "news", "again") == 1
            await until(lambda: heard[-1] == (b"news", b"again"))
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing


async def test_a_subscription_notices_a_server_that_is_frozen(tmp_path: Path) -> None:
    heard: list[str] = []
    async with valkey.running(tmp_path / "v") as server, client(server.url) as redis:
        subscription = redis.subscribe("news", on_message=lambda *_: None, on_lost=lambda: heard.append("lost"))
        subscription._silence = 0.05
        hearing = asyncio.create_task(subscription.run())
        try:
            await until(lambda: subscription.ready)
            heard.clear()
            server.freeze()
            await until(lambda: heard)
            assert not subscription.ready
            server.thaw()
            await until(lambda: subscription.ready)
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing


async def test_a_cluster_answers_as_one_server_would(tmp_path: Path) -> None:
    async with (
        valkey.cluster(tmp_path) as servers,
        client(servers[0].url, cluster=True, breaker=Breaker("redis", SystemClock(), failures=1000)) as redis,
    ):
        keys = [f"{{user{n}}}:k" for n in range(60)]
        await asyncio.gather(*(redis.call("SET", key, key) for key in keys))
        for server in servers:
            async with client(server.url) as one:
                assert b"MOVED" not in await one.call("INFO", "errorstats"), "a first call went to some node or other"
        assert await redis.pipeline([("GET", key) for key in keys]) == [key.encode() for key in keys]
        await redis.call("ZADD", "{u}:z", 1.5, "a")
        await redis.call("HSET", "{u}:h", "f", "v")
        await redis.call("SADD", "{u}:s", "m")
        assert await redis.call("ZRANGE", "{u}:z", 0, -1, "WITHSCORES") == [b"a", b"1.5"]
        assert await redis.call("HGETALL", "{u}:h") == [b"f", b"v"]
        assert await redis.call("SMEMBERS", "{u}:s") == [b"m"]
        assert await redis.call("SET", "{u}:x", "1") == b"OK"
        assert (await redis.pipeline([("HGETALL", "{u}:h"), ("SMEMBERS", "{u}:s")])) == [[b"f", b"v"], [b"m"]]
        script = redis.script(INCREMENT)
        assert [await script(keys=[f"{{u{n}}}:n"], args=[n]) for n in range(9)] == list(range(9))
        assert await redis.pipeline([script.command([f"{{v{n}}}:n"], [n]) for n in range(9)]) == list(range(9))
        with pytest.raises(ReplyError) as refused:
            await redis.call("INCR", keys[0])
        assert "not an integer" in str(refused.value)
        await servers[1].kill()

        async def one_is_missing() -> bool:
            results = await asyncio.gather(*(redis.call("GET", key) for key in keys), return_exceptions=True)
            assert {type(result) for result in results} <= {bytes, Unavailable}
            return any(isinstance(result, Unavailable) for result in results)

        await until(one_is_missing)


async def test_slots_that_move_fail_no_call(tmp_path: Path) -> None:
    async with valkey.cluster(tmp_path) as servers, client(servers[0].url, cluster=True) as redis:
        # More calls at once than there are connections.
        keys = [f"key{n}" for n in range(300)]
        await asyncio.gather(*(redis.call("GET", key) for key in keys))
        async with contextlib.AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(client(server.url)) for server in servers]
            slots = [await nodes[0].call("CLUSTER", "KEYSLOT", key) for key in keys]
            for owner in (*nodes, *nodes):
                name = await owner.call("CLUSTER", "MYID")
                moves = [("CLUSTER", "SETSLOT", slot, "NODE", name) for slot in slots]
                moving = asyncio.gather(*(node.pipeline(moves) for node in nodes))
                done = await asyncio.gather(*(redis.call("GET", key) for key in keys))
                assert done == [None] * len(keys)
                await moving
            for node in nodes:
                assert b"errorstat_MOVED" in await node.call("INFO", "errorstats")


async def test_a_subscription_hears_what_is_published_anywhere_in_a_cluster(tmp_path: Path) -> None:
    heard: list[bytes] = []
    async with valkey.cluster(tmp_path) as servers, client(servers[0].url, cluster=True) as redis:
        subscription = redis.subscribe("news", on_message=lambda _, data: heard.append(data))
        hearing = asyncio.create_task(subscription.run())
        try:
            await until(lambda: subscription.ready)
            for server in servers:
                async with client(server.url) as one:
                    await one.call("PUBLISH", "news", str(server.port))
            await until(lambda: len(heard) == 3)
            assert sorted(heard) == sorted(str(server.port).encode() for server in servers)
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing


async def test_a_replica_that_is_promoted_is_found(tmp_path: Path) -> None:
    lost: list[bool] = []
    heard: list[bytes] = []
    quick = {"cluster_node_timeout": "500", "repl_diskless_sync_delay": "0"}
    async with (
        valkey.cluster(tmp_path, replicas=1, options=quick) as servers,
        client(servers[2].url, cluster=True, timeout=0.5) as redis,
    ):
        redis.on_lost(lambda: lost.append(True))
        keys = [f"{{user{n}}}:k" for n in range(60)]
        await asyncio.gather(*(redis.call("SET", key, key) for key in keys))
        before = await redis.every_instance("CLUSTER", "MYID")
        async with client(servers[0].url) as first:
            gone = await first.call("CLUSTER", "MYID")
            assert await first.call("WAIT", 1, 10_000) == 1
        subscription = redis.subscribe("news", on_message=lambda _, data: heard.append(data))
        hearing = asyncio.create_task(subscription.run())
        await servers[0].kill()
        await until(lambda: lost)

        async def whole() -> bool:
            replies = await asyncio.gather(*(redis.call("GET", key) for key in keys), return_exceptions=True)
            assert all(
                isinstance(reply, Unavailable) or reply == key.encode()
                for key, reply in zip(keys, replies, strict=True)
            )
            return not any(isinstance(reply, Unavailable) for reply in replies)

        await until(whole)
        after = await redis.every_instance("CLUSTER", "MYID")
        assert (len(before), len(after), gone in before, gone in after) == (3, 3, True, False)
        try:
            await until(lambda: subscription.ready)
            await redis.call("PUBLISH", "news", "again")
            await until(lambda: heard == [b"again"])
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing


async def test_keys_that_are_moved_one_by_one_are_found_all_the_while(tmp_path: Path) -> None:
    async with valkey.cluster(tmp_path, masters=2) as servers, client(servers[0].url, cluster=True) as redis:
        keys = [f"{{user}}:{n}" for n in range(30)]
        script = redis.script(INCREMENT)
        await redis.pipeline([("SET", key, n) for n, key in enumerate(keys)])
        async with client(servers[0].url) as one, client(servers[1].url) as other:
            slot = await one.call("CLUSTER", "KEYSLOT", keys[0])
            nodes = (one, other) if await one.call("CLUSTER", "COUNTKEYSINSLOT", slot) else (other, one)
            source, target = nodes
            ids = [await node.call("CLUSTER", "MYID") for node in nodes]
            await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            port = servers[0].port if target is one else servers[1].port
            for moved, key in enumerate(keys):
                values = await asyncio.gather(*(redis.call("GET", each) for each in keys))
                assert values == [str(n + (n < moved)).encode() for n in range(len(keys))]
                assert await script(keys=[key], args=[1]) == moved + 1
                await source.call("MIGRATE", "127.0.0.1", port, key, 0, 5000)
                if moved == 0:
                    with pytest.raises(Unavailable, match="TRYAGAIN"):
                        await redis.call("MGET", *keys)
            for node in (target, source):
                await node.call("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        assert await redis.call("MGET", *keys) == [str(n + 1).encode() for n in range(len(keys))]


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")


async def _certificate(folder: Path) -> Path:
    """cert.pem of localhost, with key.pem beside it."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    making = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    await asyncio.to_thread(subprocess.run, making.split(), check=True, capture_output=True)
    return cert


@contextlib.asynccontextmanager
async def _tls_before(host: str, port: int, cert: Path) -> AsyncIterator[int]:
    """A proxy that speaks TLS with clients and not with the server; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, cert.with_name("key.pem"))

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(host, port)
        await asyncio.gather(copy(reader, forth), copy(back, writer))

    proxy = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    try:
        yield proxy.sockets[0].getsockname()[1]
    finally:
        proxy.close()
        await proxy.wait_closed()


@needs_openssl
async def test_tls_checks_the_certificate(tmp_path: Path, stores: Stores) -> None:
    cert = await _certificate(tmp_path)
    host, port = stores.redis_url.split("//")[-1].split("/")[0].rsplit("@")[-1].split(":")
    async with _tls_before(host, int(port), cert) as shown:
        at = f"localhost:{shown}"
        async with client(f"rediss://{at}?ssl_ca_certs={cert}") as redis:
            assert await redis.call("PING") == b"PONG"
        async with client(f"rediss://{at}?ssl_cert_reqs=none") as redis:
            assert await redis.call("PING") == b"PONG"
        async with client(f"rediss://{at}") as redis:
            assert not redis.available


@needs_openssl
async def test_a_cluster_with_a_password_and_tls(tmp_path: Path) -> None:
    cert = await _certificate(tmp_path)
    shown: list[int] = []

    @contextlib.asynccontextmanager
    async def front(server: valkey.Valkey) -> AsyncIterator[int]:
        async with _tls_before("127.0.0.1", server.port, cert) as port:
            shown.append(port)
            yield port

    more = {"requirepass": "s3cr@t", "cluster_announce_hostname": "localhost"}
    more["cluster_preferred_endpoint_type"] = "hostname"
    async with valkey.cluster(tmp_path, front=front, options=more):
        url = f"rediss://:s3cr%40t@localhost:{shown[1]}?ssl_ca_certs={cert}"
        async with client(url, cluster=True) as redis:
            keys = [f"{{user{n}}}:k" for n in range(60)]
            await redis.pipeline([("SET", key, key) for key in keys])
            assert await asyncio.gather(*(redis.call("GET", key) for key in keys)) == [key.encode() for key in keys]
            assert len(redis.breakers) == 3
            pubsub = await redis.pubsub()
            await pubsub.subscribe("news")
            assert (await pubsub.get_message(timeout=10.0))["type"] == "subscribe"
            await pubsub.aclose()
