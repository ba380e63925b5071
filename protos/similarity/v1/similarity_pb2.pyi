import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from protos.options.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Keyword(_message.Message):
    __slots__ = ("keyword", "weight", "document_frequency")
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    keyword: str
    weight: float
    document_frequency: int
    def __init__(self, keyword: _Optional[str] = ..., weight: _Optional[float] = ..., document_frequency: _Optional[int] = ...) -> None: ...

class ExtractKeywordsRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "text", "title", "limit")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    text: str
    title: str
    limit: int
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., text: _Optional[str] = ..., title: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ExtractKeywordsResponse(_message.Message):
    __slots__ = ("keywords",)
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    keywords: _containers.RepeatedCompositeFieldContainer[Keyword]
    def __init__(self, keywords: _Optional[_Iterable[_Union[Keyword, _Mapping]]] = ...) -> None: ...

class FindSimilarRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "text", "title", "limit", "min_score", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    text: str
    title: str
    limit: int
    min_score: float
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., text: _Optional[str] = ..., title: _Optional[str] = ..., limit: _Optional[int] = ..., min_score: _Optional[float] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class SharedKeyword(_message.Message):
    __slots__ = ("keyword", "contribution")
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    keyword: str
    contribution: float
    def __init__(self, keyword: _Optional[str] = ..., contribution: _Optional[float] = ...) -> None: ...

class SimilarNode(_message.Message):
    __slots__ = ("node_id", "title", "score", "shared_keywords", "title_mention", "near_duplicate")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SHARED_KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    TITLE_MENTION_FIELD_NUMBER: _ClassVar[int]
    NEAR_DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    title: str
    score: float
    shared_keywords: _containers.RepeatedCompositeFieldContainer[SharedKeyword]
    title_mention: bool
    near_duplicate: bool
    def __init__(self, node_id: _Optional[str] = ..., title: _Optional[str] = ..., score: _Optional[float] = ..., shared_keywords: _Optional[_Iterable[_Union[SharedKeyword, _Mapping]]] = ..., title_mention: bool = ..., near_duplicate: bool = ...) -> None: ...

class FindSimilarResponse(_message.Message):
    __slots__ = ("nodes", "method")
    NODES_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[SimilarNode]
    method: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[SimilarNode, _Mapping]]] = ..., method: _Optional[str] = ...) -> None: ...

class ExplainSimilarityRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "other_node_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    other_node_id: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., other_node_id: _Optional[str] = ...) -> None: ...

class ExplainSimilarityResponse(_message.Message):
    __slots__ = ("score", "shared_keywords", "mentioned_title", "mentioned_by_title", "near_duplicate", "threshold", "method")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SHARED_KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    MENTIONED_TITLE_FIELD_NUMBER: _ClassVar[int]
    MENTIONED_BY_TITLE_FIELD_NUMBER: _ClassVar[int]
    NEAR_DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    score: float
    shared_keywords: _containers.RepeatedCompositeFieldContainer[SharedKeyword]
    mentioned_title: str
    mentioned_by_title: str
    near_duplicate: bool
    threshold: float
    method: str
    def __init__(self, score: _Optional[float] = ..., shared_keywords: _Optional[_Iterable[_Union[SharedKeyword, _Mapping]]] = ..., mentioned_title: _Optional[str] = ..., mentioned_by_title: _Optional[str] = ..., near_duplicate: bool = ..., threshold: _Optional[float] = ..., method: _Optional[str] = ...) -> None: ...

class SuggestLinksRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "limit")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    limit: int
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class SuggestLinksResponse(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[SimilarNode]
    def __init__(self, nodes: _Optional[_Iterable[_Union[SimilarNode, _Mapping]]] = ...) -> None: ...

class ListNodesByKeywordRequest(_message.Message):
    __slots__ = ("user_id", "keyword", "page_size", "page_token", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    keyword: str
    page_size: int
    page_token: str
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., keyword: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class KeywordNode(_message.Message):
    __slots__ = ("node_id", "weight")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    weight: float
    def __init__(self, node_id: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class ListNodesByKeywordResponse(_message.Message):
    __slots__ = ("nodes", "next_page_token")
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[KeywordNode]
    next_page_token: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[KeywordNode, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListKeywordsRequest(_message.Message):
    __slots__ = ("user_id", "page_size", "page_token", "prefix")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page_size: int
    page_token: str
    prefix: str
    def __init__(self, user_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., prefix: _Optional[str] = ...) -> None: ...

class ListKeywordsResponse(_message.Message):
    __slots__ = ("keywords", "next_page_token")
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    keywords: _containers.RepeatedCompositeFieldContainer[KeywordCount]
    next_page_token: str
    def __init__(self, keywords: _Optional[_Iterable[_Union[KeywordCount, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class KeywordCount(_message.Message):
    __slots__ = ("keyword", "nodes")
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    keyword: str
    nodes: int
    def __init__(self, keyword: _Optional[str] = ..., nodes: _Optional[int] = ...) -> None: ...

class SearchNodesRequest(_message.Message):
    __slots__ = ("user_id", "query", "page_size", "page_token", "tags", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    query: str
    page_size: int
    page_token: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., query: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class SearchHit(_message.Message):
    __slots__ = ("node_id", "title", "score", "snippet", "highlights")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SNIPPET_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHTS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    title: str
    score: float
    snippet: str
    highlights: _containers.RepeatedCompositeFieldContainer[Highlight]
    def __init__(self, node_id: _Optional[str] = ..., title: _Optional[str] = ..., score: _Optional[float] = ..., snippet: _Optional[str] = ..., highlights: _Optional[_Iterable[_Union[Highlight, _Mapping]]] = ...) -> None: ...

class Highlight(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class SearchNodesResponse(_message.Message):
    __slots__ = ("hits", "next_page_token", "total")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[SearchHit]
    next_page_token: str
    total: int
    def __init__(self, hits: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total: _Optional[int] = ...) -> None: ...

class ListMentionsRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "page_size", "page_token", "consistency_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    page_size: int
    page_token: str
    consistency_token: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class Mention(_message.Message):
    __slots__ = ("node_id", "title", "links", "passages")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    title: str
    links: bool
    passages: _containers.RepeatedCompositeFieldContainer[MentionPassage]
    def __init__(self, node_id: _Optional[str] = ..., title: _Optional[str] = ..., links: bool = ..., passages: _Optional[_Iterable[_Union[MentionPassage, _Mapping]]] = ...) -> None: ...

class MentionPassage(_message.Message):
    __slots__ = ("text", "highlight")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHT_FIELD_NUMBER: _ClassVar[int]
    text: str
    highlight: Highlight
    def __init__(self, text: _Optional[str] = ..., highlight: _Optional[_Union[Highlight, _Mapping]] = ...) -> None: ...

class ListMentionsResponse(_message.Message):
    __slots__ = ("mentions", "next_page_token", "total_links", "total_mentions")
    MENTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_LINKS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MENTIONS_FIELD_NUMBER: _ClassVar[int]
    mentions: _containers.RepeatedCompositeFieldContainer[Mention]
    next_page_token: str
    total_links: int
    total_mentions: int
    def __init__(self, mentions: _Optional[_Iterable[_Union[Mention, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_links: _Optional[int] = ..., total_mentions: _Optional[int] = ...) -> None: ...

class RenameNodeRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "title", "rewrite_links", "etag")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    REWRITE_LINKS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    title: str
    rewrite_links: bool
    etag: str
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., title: _Optional[str] = ..., rewrite_links: bool = ..., etag: _Optional[str] = ...) -> None: ...

class RenameNodeResponse(_message.Message):
    __slots__ = ("done", "version", "etag", "rewritten", "failures", "consistency_token")
    DONE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REWRITTEN_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    done: bool
    version: int
    etag: str
    rewritten: int
    failures: _containers.RepeatedCompositeFieldContainer[RenameFailure]
    consistency_token: str
    def __init__(self, done: bool = ..., version: _Optional[int] = ..., etag: _Optional[str] = ..., rewritten: _Optional[int] = ..., failures: _Optional[_Iterable[_Union[RenameFailure, _Mapping]]] = ..., consistency_token: _Optional[str] = ...) -> None: ...

class RenameFailure(_message.Message):
    __slots__ = ("node_id", "reason", "message")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    reason: str
    message: str
    def __init__(self, node_id: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ReindexUserRequest(_message.Message):
    __slots__ = ("user_id", "relink")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RELINK_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    relink: bool
    def __init__(self, user_id: _Optional[str] = ..., relink: bool = ...) -> None: ...

class ReindexUserResponse(_message.Message):
    __slots__ = ("done", "total", "finished")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    finished: bool
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., finished: bool = ...) -> None: ...

class RemoveNodeRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "version")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    version: int
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class RemoveNodeResponse(_message.Message):
    __slots__ = ("removed", "keywords")
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    removed: bool
    keywords: _containers.RepeatedCompositeFieldContainer[Keyword]
    def __init__(self, removed: bool = ..., keywords: _Optional[_Iterable[_Union[Keyword, _Mapping]]] = ...) -> None: ...

class AnnounceNodeVisibilityRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "version", "visible", "incarnation", "announcement_id", "withdraw")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VISIBLE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    version: int
    visible: bool
    incarnation: int
    announcement_id: str
    withdraw: bool
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., version: _Optional[int] = ..., visible: bool = ..., incarnation: _Optional[int] = ..., announcement_id: _Optional[str] = ..., withdraw: bool = ...) -> None: ...

class AnnounceNodeVisibilityResponse(_message.Message):
    __slots__ = ("announced",)
    ANNOUNCED_FIELD_NUMBER: _ClassVar[int]
    announced: bool
    def __init__(self, announced: bool = ...) -> None: ...

class SetNodeVisibilityRequest(_message.Message):
    __slots__ = ("user_id", "node_id", "version", "visible", "incarnation")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VISIBLE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    node_id: str
    version: int
    visible: bool
    incarnation: int
    def __init__(self, user_id: _Optional[str] = ..., node_id: _Optional[str] = ..., version: _Optional[int] = ..., visible: bool = ..., incarnation: _Optional[int] = ...) -> None: ...

class SetNodeVisibilityResponse(_message.Message):
    __slots__ = ("applied",)
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    def __init__(self, applied: bool = ...) -> None: ...

class UserSettings(_message.Message):
    __slots__ = ("language", "auto_link", "link_threshold", "max_links")
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    AUTO_LINK_FIELD_NUMBER: _ClassVar[int]
    LINK_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_LINKS_FIELD_NUMBER: _ClassVar[int]
    language: str
    auto_link: bool
    link_threshold: float
    max_links: int
    def __init__(self, language: _Optional[str] = ..., auto_link: bool = ..., link_threshold: _Optional[float] = ..., max_links: _Optional[int] = ...) -> None: ...

class GetUserSettingsRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class GetUserSettingsResponse(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: UserSettings
    def __init__(self, settings: _Optional[_Union[UserSettings, _Mapping]] = ...) -> None: ...

class UpdateUserSettingsRequest(_message.Message):
    __slots__ = ("user_id", "settings", "update_mask", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    settings: UserSettings
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., settings: _Optional[_Union[UserSettings, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateUserSettingsResponse(_message.Message):
    __slots__ = ("settings", "update_time")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    settings: UserSettings
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, settings: _Optional[_Union[UserSettings, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
