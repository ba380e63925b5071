"""The clients: Brain2 for asyncio, Brain2Sync for everybody else."""

import os
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from ._calls import Calls, Channels, Token
from ._loop import Loop
from ._sync import DeletionsSync, LinksSync, NotesSync, SearchSync
from .deletions import Deletions
from .links import Links
from .notes import Notes
from .search import Search

_CONTEXTS = ("node", "graph", "similarity", "cleanup")
_DEFAULT = "localhost:50051"


class Brain2:
    """A client of the four services. Use as `async with Brain2(...) as brain`.

    target: "host:port" of the node service. The other services are at the three ports after it, as `make run` has it,
        unless graph, similarity and cleanup say otherwise. None: BRAIN2_NODE_TARGET, or localhost:50051, and in the
        same way BRAIN2_GRAPH_TARGET and so on for the others.
    user: the owner of the notes. "" means BRAIN2_USER, or the user of the token.
    token: sent as `authorization: Bearer`. A function (also a coroutine function) is asked before each call, for tokens
        that expire. None means BRAIN2_TOKEN.
    timeout: seconds for a call, with all its repetitions.
    ca: PEM file with the CA of the services, for TLS; or credentials of grpc, for mTLS. None means BRAIN2_CA, or a
        plain connection.

    notes, links, search, deletions: the operations. The client may be used by any number of tasks of one event loop.
    """

    notes: Notes
    links: Links
    search: Search
    deletions: Deletions

    def __init__(
        self,
        target: str | None = None,
        *,
        user: str = "",
        token: Token | None = None,
        graph: str | None = None,
        similarity: str | None = None,
        cleanup: str | None = None,
        timeout: float = 10.0,
        ca: str | Path | grpc.ChannelCredentials | None = None,
    ) -> None:
        given = {"node": target, "graph": graph, "similarity": similarity, "cleanup": cleanup}
        channels = Channels(targets(given, os.environ), _credentials(ca or os.environ.get("BRAIN2_CA") or None))
        user = user or os.environ.get("BRAIN2_USER", "")
        self._use(Calls(channels, user, token if token is not None else os.environ.get("BRAIN2_TOKEN"), timeout))

    def _use(self, calls: Calls) -> None:
        self._calls = calls
        self.notes, self.links = Notes(calls), Links(calls)
        self.search, self.deletions = Search(calls), Deletions(calls)

    @property
    def user(self) -> str:
        """The owner of the notes; "" means the user of the token."""
        return self._calls.user

    def acting_as(self, user: str = "", *, token: Token | None = None) -> "Brain2":
        """A client for another user over the same connections. It sees its own writes, and is closed with this one."""
        other = Brain2.__new__(Brain2)
        other._use(Calls(self._calls.channels, user, token, self._calls.default_timeout))
        return other

    async def __aenter__(self) -> "Brain2":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls that still run fail with Cancelled."""
        await self._calls.channels.close()


class Brain2Sync:
    """The same client without async: `with Brain2Sync(...) as brain`. The arguments are those of Brain2.

    The calls run on an event loop in a thread of the client; any number of threads may use it.
    """

    notes: NotesSync
    links: LinksSync
    search: SearchSync
    deletions: DeletionsSync

    def __init__(
        self,
        target: str | None = None,
        *,
        user: str = "",
        token: Token | None = None,
        graph: str | None = None,
        similarity: str | None = None,
        cleanup: str | None = None,
        timeout: float = 10.0,
        ca: str | Path | grpc.ChannelCredentials | None = None,
    ) -> None:
        async def opened() -> Brain2:
            return Brain2(
                target,
                user=user,
                token=token,
                graph=graph,
                similarity=similarity,
                cleanup=cleanup,
                timeout=timeout,
                ca=ca,
            )

        self._loop = Loop()
        self._brain = self._run_or_stop(opened())
        self.notes = NotesSync(self._loop, self._brain.notes)
        self.links = LinksSync(self._loop, self._brain.links)
        self.search = SearchSync(self._loop, self._brain.search)
        self.deletions = DeletionsSync(self._loop, self._brain.deletions)

    def _run_or_stop(self, work: Coroutine[Any, Any, Brain2]) -> Brain2:
        try:
            return self._loop.run(work)
        except BaseException:
            self._loop.close()
            raise

    @property
    def user(self) -> str:
        """The owner of the notes; "" means the user of the token."""
        return self._brain.user

    def __enter__(self) -> "Brain2Sync":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the client's thread; calls that still run fail with Cancelled."""
        self._loop.close(self._brain.close())


def targets(given: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, str]:
    """Context -> "host:port": what is given, else the environment's, else the port after the node service's.

    ValueError when a target is missing and the node's has no port to count from.
    """
    # With a target the environment does not count: it may describe another installation.
    known = {} if given.get("node") else environ
    found = {context: given.get(context) or known.get(f"BRAIN2_{context.upper()}_TARGET", "") for context in _CONTEXTS}
    node = found["node"] or _DEFAULT
    host, _, port = node.rpartition(":")
    for offset, context in enumerate(_CONTEXTS):
        if not found[context]:
            if not host or not port.isdigit():
                raise ValueError(f"{node!r} is not host:port, so the target of {context} is needed, too")
            found[context] = f"{host}:{int(port) + offset}"
    return found


def _credentials(ca: str | Path | grpc.ChannelCredentials | None) -> grpc.ChannelCredentials | None:
    if ca is None or isinstance(ca, grpc.ChannelCredentials):
        return ca
    return grpc.ssl_channel_credentials(Path(ca).read_bytes())
