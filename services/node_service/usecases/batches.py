"""Creating many notes in one call, once for each request_id."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.node_service.model import MAX_BATCH_CREATE, Draft, Summary, check_new
from services.node_service.ports import Batches, Outcome, Request
from services.node_service.usecases import rules
from services.node_service.usecases.writing import Writing, creation, taken
from shared.errors import Brain2Error, InvalidArgument, Violations

Result = Summary | Brain2Error
# How the results are told; with a request_id these bytes are kept, so that a repeat hears exactly the same.
Answer = Callable[[Sequence[Result]], bytes]


@dataclass(frozen=True, slots=True)
class BatchWriting:
    """create_nodes."""

    writing: Writing
    batches: Batches

    async def create_nodes(
        self, user_id: str, drafts: Sequence[Draft], request: Request | None, answer: Answer
    ) -> bytes:
        """Store notes, each for itself: a note or its error, in their order, as `answer` tells it.

        InvalidArgument: none, too many, one id twice, a request_id that was for something else. Aborted: the same
        request is being carried out.
        """
        violations = Violations()
        rules.check_ids(user_id, None, request, violations)
        _check_batch(drafts, violations)
        violations.raise_if_any()
        if request is None:
            return answer(await self._each(user_id, drafts, None))
        held = await self.batches.begin(user_id, request)
        if isinstance(held, bytes):
            return held
        try:
            results = await self._each(user_id, drafts, request)
            if any(isinstance(each, Brain2Error) and each.transient for each in results):
                # Not kept: a repeat finds what was stored by its receipts, and tries the rest again.
                await held.forget()
                return answer(results)
            told = answer(results)
            await held.complete(told)
            return told
        except BaseException:  # a caller that went away, too
            await held.forget()
            raise

    async def _each(self, user_id: str, drafts: Sequence[Draft], request: Request | None) -> list[Result]:
        """Each note with a receipt of its own, in its own transaction: a repeat after a crash in the middle finds the
        notes that were stored, also those whose ids were made here."""
        now = self.writing.clock.now_ms()
        results: dict[int, Result] = {}
        changes = {}
        for index, draft in enumerate(drafts):
            if error := _refusal(draft, now):
                results[index] = error
                continue
            own = request and Request(f"{request.request_id}#{index}", request.fingerprint)
            # The answer to a batch is without contents, so its receipts are too.
            changes[index] = creation(self.writing.made(user_id, draft, now), now, own, keep_content=False)
        outcomes = await self.writing.store.commit_new(list(changes.values()))
        for (index, change), outcome in zip(changes.items(), outcomes, strict=True):
            node = change.after
            assert node is not None
            if isinstance(outcome, Brain2Error):
                results[index] = outcome
            elif outcome is Outcome.DONE:
                results[index] = node
            else:
                own = change.receipt.request if change.receipt else None
                results[index] = await self._former(user_id, node.node_id, own)
        return [results[index] for index in range(len(drafts))]

    async def _former(self, user_id: str, node_id: str, request: Request | None) -> Result:
        """What became of a note that could not be stored now: stored by the same request before, or its id is taken."""
        try:
            return await rules.former(self.writing.store, user_id, request) or taken(node_id)
        except Brain2Error as error:
            return error


def _check_batch(drafts: Sequence[Draft], violations: Violations) -> None:
    if not 1 <= len(drafts) <= MAX_BATCH_CREATE:
        violations.add("nodes", f"has {len(drafts)} notes, it must have 1 to {MAX_BATCH_CREATE}")
        return
    seen: set[str] = set()
    for index, draft in enumerate(drafts):
        if draft.node_id and draft.node_id in seen:
            violations.add(f"nodes[{index}].node_id", "is the id of an earlier note of the batch")
        seen.add(draft.node_id)


def _refusal(draft: Draft, now: int) -> InvalidArgument | None:
    violations = Violations()
    check_new(draft, now, "node", violations)
    try:
        violations.raise_if_any()
    except InvalidArgument as error:
        return error
    return None
