"""Handles the events of the node service. They may come twice and in any order (model/stored.py)."""

from collections.abc import Mapping, Sequence

from services.similarity_service import convert
from services.similarity_service.ports import Graph, Nodes, NodeText
from services.similarity_service.usecases.index_node import IndexNode
from services.similarity_service.usecases.link_node import LinkNode
from services.similarity_service.usecases.link_texts import LinkTexts
from services.similarity_service.usecases.relink import Relinker
from services.similarity_service.usecases.remove_node import RemoveNode
from services.similarity_service.usecases.set_node_visibility import SetNodeVisibility
from shared.errors import Aborted, Brain2Error, InvalidArgument
from shared.events.envelope import Event
from shared.events.handlers import BatchHandler, Handler
from shared.resilience.slices import Slices
from shared.revisions import Revision

# Texts that events leave out because of their size are read so many in one call, which has a few seconds.
_LARGE_TEXTS = 10


def handlers(
    index_node: IndexNode,
    set_visibility: SetNodeVisibility,
    remove_node: RemoveNode,
    link_texts: LinkTexts,
    link_node: LinkNode,
    relinker: Relinker,
    nodes: Nodes,
    graph: Graph,
) -> Mapping[str, Handler | BatchHandler]:
    """The handler of each event type. What was written is indexed and linked together."""

    async def written(events: Sequence[Event]) -> Mapping[str, Exception]:
        user_id = events[0].user_id
        texts, failed = await _texts(nodes, events)
        restored = {
            event.node_id: (texts[event.node_id].incarnation, event.version)
            for event in events
            if event.type == "node.restored" and event.node_id in texts
        }
        await graph.show(user_id, restored)
        # Notes are linked also if they were indexed before: a process may have died between the two steps. Links to a
        # restored note may have been written, or removed from a text, while it was hidden.
        before = await link_texts.before(user_id, texts)
        indexed = await index_node(user_id, list(texts.values()))
        unsure = (texts.keys() - indexed) | restored.keys()
        known = {each: None if each in unsure else before[each] for each in texts}
        failed |= await link_texts(user_id, known, whole=unsure)
        linked = [each for each in texts if each not in failed]
        for node_id in await link_node(user_id, linked, min(event.time_ms for event in events)):
            # Graph has answered the call: what hinders single links, such as a throttled partition, concerns this user.
            failed[node_id] = Aborted("the graph service could not make a link now", reason="LINKS_NOT_MADE")
        return {event.id: failed[event.node_id] for event in events if event.node_id in failed}

    async def deleted(event: Event) -> None:
        incarnation = convert.incarnation_of(event)
        # As a rule the node service's call of SetNodeVisibility has stored the same change before.
        await set_visibility(
            event.user_id, event.node_id, event.version, visible=False, incarnation=incarnation, probably_known=True
        )
        await link_texts.after_hiding(event.user_id, event.node_id)
        await relinker.schedule_after_removal(event.user_id, event.time_ms)

    async def purged(event: Event) -> None:
        try:
            await remove_node(event.user_id, event.node_id, event.version, incarnation=convert.incarnation_of(event))
        except Aborted as error:
            if error.reason != "VERSION_MISMATCH":
                raise
            # A newer version is indexed: the purge was of an earlier note with the same id.

    together = BatchHandler(written)
    return {
        "node.created": together,
        "node.updated": together,
        "node.restored": together,
        "node.deleted": deleted,
        "node.purged": purged,
    }


async def _texts(nodes: Nodes, events: Sequence[Event]) -> tuple[dict[str, NodeText], dict[str, Exception]]:
    """The texts by node id, and the errors of malformed events. A note that was deleted after its event may be missing:
    its deletion has an event of its own.
    """
    texts: dict[str, NodeText] = {}
    failed: dict[str, Exception] = {}
    omitted: dict[str, Revision] = {}
    slices = Slices()
    for event in events:
        await slices.pause()
        try:
            text, is_omitted = convert.written(event)
        except InvalidArgument as error:
            failed[event.node_id] = error
            continue
        if is_omitted:
            omitted[event.node_id] = text.incarnation, text.version
        else:
            texts[event.node_id] = text
    large = list(omitted)
    for start in range(0, len(large), _LARGE_TEXTS):
        some = large[start : start + _LARGE_TEXTS]
        try:
            # At least as new as their events: an older text would stay in the index, since no event follows.
            texts |= await nodes.texts(events[0].user_id, some, omitted)
        except Brain2Error as error:
            failed |= dict.fromkeys(some, error)
    return texts, failed
