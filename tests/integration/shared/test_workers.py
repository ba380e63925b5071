"""Several workers on one port: all answer, one that is killed is replaced, and they drain and are measured as one."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import processes
from shared.grpc.client import Channels
from tests.support.echo import NAME, SERVICE, Echo, plain_channel
from tests.support.scrape import Scraped, documented, parse, scrape
from tests.support.waiting import until
from tests.support.workers import Pod, pod


async def test_every_worker_answers_and_a_killed_one_is_replaced() -> None:
    async with pod(2) as running:
        first = await running.pids(2)
        assert running.child.pid not in first
        victim, other = first
        os.kill(victim, signal.SIGKILL)
        # The other worker has the port for itself now, so that no call is refused.
        await until(lambda: not alive(victim), what="the end of the worker")
        assert await running.answer() != 0
        assert len(await running.pids(2, without=victim) - {other}) == 1

        async def reported() -> bool:
            found = await metrics(running)
            return (found["brain2_workers"].value(), found["brain2_workers_replaced"].value()) == (2, 1)

        await until(reported, what="two workers in the metrics")
    assert running.child.ended.result() == 0


async def test_health_is_served_while_one_worker_serves() -> None:
    [port] = processes.free_ports(1)
    async with pod(2, {"BRAIN2_HEALTH_LISTEN": f"127.0.0.1:{port}"}) as running:
        victim, *_ = await running.pids(2)

        async def both_serve() -> bool:
            return (await metrics(running))["brain2_workers"].value() == 2

        # A worker answers calls a moment before it listens for probes.
        await until(both_serve, what="two workers")
        os.kill(victim, signal.SIGKILL)
        await until(lambda: not alive(victim), what="the end of the worker")
        for target in (running.target, f"127.0.0.1:{port}"):
            for service in ("", NAME):
                async with plain_channel(target) as channel:
                    request = health_pb2.HealthCheckRequest(service=service)
                    answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=60)
                    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_drain_loses_no_call() -> None:
    async with pod(2) as running, AsyncExitStack() as stack:
        await running.pids(2)
        stubs = []
        for _ in range(12):
            channel = await stack.enter_async_context(plain_channel(running.target))
            kinds = {"request_serializer": Echo.SerializeToString, "response_deserializer": Echo.FromString}
            stubs.append(channel.unary_unary(f"/{NAME}/GetEcho", **kinds))
        served = {(await stub(Echo(text="pid"))).text for stub in stubs}
        calls = [asyncio.ensure_future(stub(Echo(text="slow"))) for stub in stubs for _ in range(20)]
        await until(lambda: any(call.done() for call in calls), what="a first answer")
        more = [asyncio.ensure_future(stub(Echo(text="slow"))) for stub in stubs for _ in range(20)]
        # Each connection has calls that the server has begun to serve.
        await asyncio.gather(*(stub(Echo(text="pid")) for stub in stubs))
        os.kill(running.child.pid, signal.SIGTERM)
        answers = await asyncio.gather(*calls, *more)
        assert {answer.text for answer in answers} == served
        assert await running.child.ended == 0


async def test_the_metrics_of_the_workers_add_up_and_never_shrink() -> None:
    async with pod(2) as running:
        both = await running.pids(2)
        before = (await metrics(running))["rpc_server_duration_ms"].value("_count", rpc_method="GetEcho", code="OK")
        assert before >= 2
        for _ in range(40):
            await running.answer()
        found = await metrics(running)
        assert found["rpc_server_duration_ms"].value("_count", rpc_method="GetEcho", code="OK") == before + 40
        rows = {name: row.kind for name, row in documented().items() if "supervisor" in row.services}
        assert rows == {name: found[name].kind for name in rows}
        assert rows.keys() == {name for name in found if name.startswith("brain2_workers")}
        victim = both.pop()
        os.kill(victim, signal.SIGKILL)
        await until(lambda: not alive(victim), what="the end of the worker")
        left = await metrics(running)
        assert left["rpc_server_duration_ms"].value("_count", rpc_method="GetEcho", code="OK") >= before + 40


async def test_a_first_start_that_fails_ends_the_service_with_its_code(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("3")
    async with pod(2, {"BAD_START": str(bad)}, ready=False) as running:
        assert await running.child.ended == 3


async def test_workers_that_cannot_be_replaced_end_the_service(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    async with pod(2, {"BAD_START": str(bad)}) as running:
        both = await running.pids(2)
        bad.write_text("3")
        os.kill(both.pop(), signal.SIGKILL)
        assert await running.child.ended == 3
        assert any("a worker can't be started" in line for line in running.lines)


async def test_workers_end_when_their_supervisor_is_killed() -> None:
    async with pod(2) as running:
        both = await running.pids(2)
        os.kill(running.child.pid, signal.SIGKILL)
        await until(lambda: not any(map(alive, both)), what="the end of the workers")


@pytest.mark.parametrize("variable", ["BRAIN2_LISTEN", "BRAIN2_HEALTH_LISTEN"])
async def test_a_taken_port_is_an_error_and_is_not_shared(variable: str) -> None:
    with taken_port() as address:
        async with pod(2, {variable: address, "BRAIN2_DRAIN_SECONDS": "0"}, ready=False) as running:
            assert await running.child.ended == 1
            assert f"cannot listen on {address} ({variable})" in running.lines[-1]


async def test_a_service_that_waits_for_its_port_ends_at_once_when_it_is_told_to() -> None:
    with taken_port() as address:
        async with pod(2, {"BRAIN2_LISTEN": address, "BRAIN2_DRAIN_SECONDS": "45"}, ready=False) as running:
            await until(lambda: any("waiting for an address" in line for line in running.lines), what="the wait")
            os.kill(running.child.pid, signal.SIGTERM)
            assert await running.child.ended == 0


@pytest.mark.parametrize(
    "wrong", [{"BRAIN2_LISTEN": "unix:/tmp/x"}, {"BRAIN2_LISTEN": "127.0.0.1:0"}, {"BRAIN2_WORKERS": "0"}]
)
async def test_a_wrong_configuration_is_told_before_a_worker_starts(wrong: dict[str, str]) -> None:
    async with pod(2, wrong, ready=False) as running:
        assert await running.child.ended == 2
        assert running.lines[0] == "The configuration is wrong:"
        assert running.lines[1].strip().startswith(next(iter(wrong)))


async def test_one_worker_has_no_supervisor() -> None:
    async with pod(1) as running:
        assert await running.answer() == running.child.pid
        assert "brain2_workers" not in await metrics(running)


async def test_a_client_that_retries_notices_nothing_of_a_killed_worker() -> None:
    async with pod(2) as running, Channels(timeout=20.0, patience=20.0) as channels:
        stub = channels.stub(running.target, SERVICE)
        for _ in range(3):
            answered = int((await stub.GetEcho(Echo(text="pid"))).text)
            os.kill(answered, signal.SIGKILL)
            assert int((await stub.GetEcho(Echo(text="pid"))).text) != answered


@contextlib.contextmanager
def taken_port() -> Iterator[str]:
    """The address of a server that would share its port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def metrics(running: Pod) -> dict[str, Scraped]:
    return parse(await scrape(running.metrics))


def alive(pid: int) -> bool:
    """Whether the process is there. A zombie counts: its last threads may still hold the port."""
    return Path(f"/proc/{pid}").exists()
