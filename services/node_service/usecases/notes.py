"""What the use cases of notes work with, and the steps that several of them have in common."""

from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from services.node_service.model import Node, NodeEvent, Summary
from services.node_service.ports import (
    EventPublisher,
    Idempotency,
    NodeStore,
    NodeWrite,
    Outcome,
    Receipt,
    Retentions,
    Visibility,
)
from services.node_service.usecases.optimistic_concurrency import OptimisticConcurrency
from shared.errors import Internal
from shared.idempotent import IdempotentRequest
from shared.ids import Clock, IdFactory

S = TypeVar("S", bound=Summary)


@dataclass(frozen=True, slots=True)
class WriteCall(Generic[S]):
    """What the receipt of a call that writes a note is made from, and how its previous answer is read.

    request: None = the call has no request_id, so it leaves no receipt.
    kind: the class of the answers of its RPC.
    content: of the note in the answer, if the request has it. The receipt then goes without it, since a repeated
        request has the same.
    """

    request: IdempotentRequest | None
    kind: type[S]
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """The ports, and the one OptimisticConcurrency that all writes of the process share.

    max_answer_bytes: the contents that one answer may hold.
    """

    store: NodeStore
    idempotency: Idempotency
    retentions: Retentions
    visibility: Visibility
    publisher: EventPublisher
    concurrency: OptimisticConcurrency
    clock: Clock
    ids: IdFactory
    max_answer_bytes: int

    async def previous_answer(self, call: WriteCall[S]) -> S | None:
        """The stored answer to a call; None when it is new or has no request_id.

        Raises InvalidArgument (REQUEST_ID_REUSED).
        """
        answer = None if call.request is None else await self.store.previous_answer(call.request)
        if answer is None or isinstance(answer, call.kind):
            return answer
        if call.content is None:
            raise Internal("the stored answer has no content")
        return cast(S, answer.with_content(call.content))

    async def commit(self, call: WriteCall[S], before: S, after: S, event: NodeEvent | None) -> S | None:
        """Write `after` over `before`, with the event and the receipt of the call.

        Returns `after` as the call's kind, or the previous answer when the call had been carried out before, or None
        when another writer came first.
        """
        written = await self.write(call, before, after, event)
        return await self.previous_answer(call) if written is None else written

    async def write(self, call: WriteCall[S], before: S, after: S, event: NodeEvent | None) -> S | None:
        """commit() without a look at the previous answer: None when nothing was written."""
        # A deletion of a note whose content is known answers without it.
        answer = cast(S, after.summary()) if call.kind is Summary and isinstance(after, Node) else after
        kept = answer.summary() if call.content is not None and isinstance(answer, Node) else answer
        receipt = None if call.request is None else Receipt(call.request, kept)
        write = NodeWrite(before=before, after=after, event=event, receipt=receipt)
        return answer if await self.store.commit(write) is Outcome.DONE else None

    async def keep_unchanged(self, call: WriteCall[S], node: S) -> S | None:
        """Answer with a note that needs no change. A call with a request_id leaves its receipt all the same.

        The same request may be sent again after the note was changed, and must change nothing then.
        Returns what commit() returns.
        """
        if call.request is None:
            return node
        return await self.previous_answer(call) or await self.commit(call, node, node, None)
