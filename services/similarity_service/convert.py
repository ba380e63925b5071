"""Converts messages to the model and back; pure functions."""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from protos.graph.v1 import graph_pb2
from protos.node.v1 import events_pb2, node_pb2
from protos.similarity.v1 import similarity_pb2 as pb
from protos.table import RELATED
from services.similarity_service.model.keywords import Keyword
from services.similarity_service.model.links import Link
from services.similarity_service.model.score import Contribution
from services.similarity_service.model.user_settings import SavedUserSettings, UserSettings
from services.similarity_service.ports import Direction, NodeText, TextLink
from services.similarity_service.usecases.explain_similarity import Explanation
from services.similarity_service.usecases.find_similar import Similar
from services.similarity_service.usecases.list_mentions import MentionPage
from services.similarity_service.usecases.rename_node import Renaming
from services.similarity_service.usecases.search_nodes import FoundPage
from shared.errors import InvalidArgument
from shared.events.envelope import Event

# The type of the edges that stand for wiki links, and the label that tells them from those that people make.
LINKS_TO = "links_to"
_FROM_TEXT = {"source": "text"}
# The entry of a note's metadata that holds the path of the file from which the note was imported.
_PATH = "path"
# The entry that says how its wiki links are written, as the import sets it for a note of Dendron.
_WIKI_LINKS, _LABEL_FIRST = "wiki_links", "label|name"
_DIRECTIONS: Mapping[int, Direction] = {graph_pb2.DIRECTION_OUT: Direction.OUT, graph_pb2.DIRECTION_IN: Direction.IN}
# An edge's metadata has room for 4 KiB.
_KEYWORDS_OF_EDGE = 8


def keyword(found: Keyword) -> pb.Keyword:
    return pb.Keyword(keyword=found.form, weight=found.weight, document_frequency=found.df)


def shared_keywords(contributions: Iterable[Contribution]) -> list[pb.SharedKeyword]:
    return [pb.SharedKeyword(keyword=each.keyword, contribution=each.amount) for each in contributions]


def similar(found: Similar) -> pb.SimilarNode:
    return pb.SimilarNode(
        node_id=found.node_id,
        title=found.title,
        score=found.score,
        shared_keywords=shared_keywords(found.contributions),
        title_mention=found.title_mention,
        near_duplicate=found.near_duplicate,
    )


def explanation(found: Explanation, method: str) -> pb.ExplainSimilarityResponse:
    return pb.ExplainSimilarityResponse(
        score=found.score,
        shared_keywords=shared_keywords(found.contributions),
        mentioned_title=found.mentioned_title,
        mentioned_by_title=found.mentioned_by_title,
        near_duplicate=found.near_duplicate,
        threshold=found.threshold,
        method=method,
    )


def search_page(page: FoundPage) -> pb.SearchNodesResponse:
    hits = [
        pb.SearchHit(
            node_id=hit.node_id,
            title=hit.title,
            score=hit.score,
            snippet=hit.snippet.text,
            highlights=[pb.Highlight(start=start, end=end) for start, end in hit.snippet.highlights],
        )
        for hit in page.hits
    ]
    return pb.SearchNodesResponse(hits=hits, next_page_token=page.next_token, total=page.total)


def mention_page(page: MentionPage) -> pb.ListMentionsResponse:
    mentions = [
        pb.Mention(
            node_id=each.node_id,
            title=each.title,
            links=each.links,
            passages=[
                pb.MentionPassage(text=one.text, highlight=pb.Highlight(start=one.start, end=one.end))
                for one in each.passages
            ],
        )
        for each in page.mentions
    ]
    return pb.ListMentionsResponse(
        mentions=mentions,
        next_page_token=page.next_token,
        total_links=page.total_links,
        total_mentions=page.total_mentions,
    )


def renaming(found: Renaming) -> pb.RenameNodeResponse:
    failures = [
        pb.RenameFailure(node_id=each.node_id, reason=each.reason, message=each.message) for each in found.failures
    ]
    return pb.RenameNodeResponse(
        done=found.done,
        version=found.written.version,
        etag=found.written.etag,
        rewritten=found.rewritten,
        failures=failures,
        consistency_token=found.written.token,
    )


def user_settings(message: pb.UserSettings) -> UserSettings:
    """The settings of a message; unset fields get their defaults."""
    return UserSettings(
        language=message.language or UserSettings().language,
        auto_link=message.auto_link if message.HasField("auto_link") else True,
        link_threshold=message.link_threshold,
        max_links=message.max_links,
    )


def user_settings_message(chosen: UserSettings) -> pb.UserSettings:
    return pb.UserSettings(
        language=chosen.language,
        auto_link=chosen.auto_link,
        link_threshold=chosen.link_threshold,
        max_links=chosen.max_links,
    )


def updated(saved: SavedUserSettings) -> pb.UpdateUserSettingsResponse:
    time = Timestamp()
    time.FromMilliseconds(saved.updated_ms)
    return pb.UpdateUserSettingsResponse(settings=user_settings_message(saved.settings), update_time=time)


def new_edge(node_id: str, link: Link, method: str) -> graph_pb2.NewEdge:
    """An automatic edge with the reasons for it."""
    return graph_pb2.NewEdge(
        source_id=node_id,
        target_id=link.node_id,
        type=RELATED,
        weight=link.score,
        metadata=graph_pb2.EdgeMetadata(
            auto_generated=True,
            score=link.score,
            method=method,
            shared_keywords=[
                graph_pb2.SharedKeyword(keyword=each.keyword, contribution=each.amount)
                for each in link.contributions[:_KEYWORDS_OF_EDGE]
            ],
        ),
    )


def text_edge(link: TextLink) -> graph_pb2.NewEdge:
    """The edge that stands for a wiki link."""
    return graph_pb2.NewEdge(
        source_id=link.source,
        target_id=link.target,
        type=LINKS_TO,
        directed=link.directed,
        metadata=graph_pb2.EdgeMetadata(labels=_FROM_TEXT),
    )


def direction(value: int) -> Direction:
    return _DIRECTIONS.get(value, Direction.BOTH)


def node_text(node: node_pb2.Node) -> NodeText:
    return _node_text(node, node.node_id, node.version, node.metadata.get(_PATH, ""), node.etag)


def _node_text(message: Any, node_id: str, version: int, path: str, etag: str = "") -> NodeText:
    """message: a Node, or the data of an event of one, which has the other fields under the same names."""
    return NodeText(
        node_id=node_id,
        incarnation=message.incarnation,
        version=version,
        title=message.title,
        text=message.content,
        tags=tuple(message.tags),
        aliases=tuple(message.aliases),
        path=path,
        properties=_properties(message.metadata),
        etag=etag,
        label_first=message.metadata.get(_WIKI_LINKS) == _LABEL_FIRST,
    )


def _properties(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The values of a note's metadata but those for programs, in the order of their names."""
    return tuple([value for name, value in sorted(metadata.items()) if name not in (_PATH, _WIKI_LINKS) and value])


_WRITTEN = {
    "node.created": events_pb2.NodeCreated,
    "node.updated": events_pb2.NodeUpdated,
    "node.restored": events_pb2.NodeRestored,
}


def written(event: Event) -> tuple[NodeText, bool]:
    """The text that an event carries, and whether the event left it out because of its size."""
    message: Any = _parse(_WRITTEN[event.type](), event.data)
    return _node_text(message, event.node_id, event.version, message.path), message.content_omitted


def incarnation_of(event: Event) -> int | None:
    """The incarnation in the event of a deletion or purge; None when the event has none."""
    message: Any = _parse(
        events_pb2.NodeDeleted() if event.type == "node.deleted" else events_pb2.NodePurged(), event.data
    )
    return message.incarnation or None


def _parse(message: Message, data: Mapping[str, Any]) -> Message:
    try:
        return json_format.ParseDict(dict(data), message, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise InvalidArgument(f"not a {type(message).__name__}: {error}", reason="EVENT_MALFORMED") from error
