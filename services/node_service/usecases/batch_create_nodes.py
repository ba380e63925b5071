"""BatchCreateNodes: create many notes in one call, once for each request_id."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from services.node_service.model import Draft, Summary
from services.node_service.ports import Outcome, Receipt
from services.node_service.usecases.create_node import creation, new_node
from services.node_service.usecases.errors import node_exists
from services.node_service.usecases.notes import Notes, WriteCall
from services.node_service.usecases.validation import check_batch_create_nodes, check_batched_node
from shared.errors import Brain2Error, InvalidArgument
from shared.idempotent import IdempotentRequest

Result = Summary | Brain2Error
# Encodes the results. With a request_id these bytes are stored, so that a repeated request gets the same ones.
Encode = Callable[[Sequence[Result]], bytes]
_NONE: Mapping[int, InvalidArgument] = MappingProxyType({})


async def batch_create_nodes(
    notes: Notes,
    user_id: str,
    drafts: Sequence[Draft],
    request: IdempotentRequest | None,
    encode: Encode,
    wrong: Mapping[int, InvalidArgument] = _NONE,
) -> bytes:
    """A note or its error for each draft, in their order, as `encode` makes them.

    wrong: the errors of drafts that break the limits of the .proto, by their places in `drafts`.

    Raises InvalidArgument (no notes, too many, one id twice, REQUEST_ID_REUSED), Aborted (REQUEST_IN_PROGRESS).
    """
    check_batch_create_nodes(user_id, drafts, request)
    if request is None:
        return encode(await _create(notes, user_id, drafts, None, wrong))
    stored = await notes.idempotency.begin(request)
    if stored is not None:
        return stored
    try:
        results = await _create(notes, user_id, drafts, request, wrong)
        answer = encode(results)
        if any(isinstance(each, Brain2Error) and each.transient for each in results):
            # This answer is not stored: a repeated request finds by its receipts which notes exist, and creates the
            # others.
            await notes.idempotency.abandon(request)
        else:
            await notes.idempotency.complete(request, answer)
        return answer
    except BaseException:  # also when the caller has gone away
        await notes.idempotency.abandon(request)
        raise


async def _create(
    notes: Notes,
    user_id: str,
    drafts: Sequence[Draft],
    request: IdempotentRequest | None,
    wrong: Mapping[int, InvalidArgument],
) -> list[Result]:
    """Create each note with a receipt of its own in its own transaction.

    After a crash a repeated request finds the notes that were stored, also those whose ids were made here.
    """
    now_ms = notes.clock.now_ms()
    results: dict[int, Result] = {}
    writes = {}
    for index, draft in enumerate(drafts):
        try:
            if index in wrong:
                raise wrong[index]
            check_batched_node(draft, now_ms)
        except InvalidArgument as error:
            results[index] = error
            continue
        node = new_node(notes, user_id, draft, now_ms)
        receipt = None
        if request is not None:
            own = IdempotentRequest(user_id, f"{request.request_id}#{index}", request.fingerprint)
            # The answer to a batch has no contents, so its receipts have none either.
            receipt = Receipt(own, node.summary())
        writes[index] = creation(node, receipt)
    outcomes = await notes.store.commit_new(list(writes.values()))
    for (index, write), outcome in zip(writes.items(), outcomes, strict=True):
        assert write.after is not None
        if isinstance(outcome, Brain2Error):
            results[index] = outcome
        elif outcome is Outcome.DONE:
            results[index] = write.after
        else:
            results[index] = await _previous(notes, write.after, write.receipt)
    return [results[index] for index in range(len(drafts))]


async def _previous(notes: Notes, node: Summary, receipt: Receipt | None) -> Result:
    """The result for a note that could not be written: the same request has stored it before, or its id is taken."""
    request = receipt.request if receipt else None
    try:
        return await notes.previous_answer(WriteCall(request, Summary)) or node_exists(node.node_id)
    except Brain2Error as error:
        return error
