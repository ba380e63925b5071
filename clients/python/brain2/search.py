"""Full-text search, similar notes, mentions, suggestions, keywords.

The index follows the notes, usually within a second. Methods with the argument `wait` answer from an index that has the
last write of this client, for which the service waits up to 5 seconds; wait=False answers from the index as it is. They
fail with Unavailable (INDEX_BEHIND), or with DeadlineExceeded, when the index is not so far in time.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from ._calls import Calls
from ._proto import similarity_pb2
from .models import Explanation, Hit, Keyword, Mention, Passage, Reason, SearchSettings, Similar

_SERVICE = "/brain2.similarity.v1.SimilarityService/"


class Search:
    """Finds notes of a user."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def find(
        self,
        query: str,
        *,
        tags: Iterable[str] = (),
        page_size: int = 20,
        wait: bool = True,
        timeout: float | None = None,
    ) -> AsyncIterator[Hit]:
        """Search the full text, best first. Pages are read as the iterator goes.

        query: words, "quoted phrases", prefix* and tag:name, at most 1 KiB. tags: only notes that have all of them.
        timeout: seconds for a page. Errors: InvalidArgument.
        """
        request = similarity_pb2.SearchNodesRequest(
            user_id=self._calls.user,
            query=query,
            tags=tags,
            page_size=page_size,
            consistency_token=self._tokens(wait=wait),
        )
        while True:
            answer = await self._call("SearchNodes", request, similarity_pb2.SearchNodesResponse, timeout)
            for hit in answer.hits:
                yield Hit(
                    hit.node_id,
                    hit.title,
                    hit.score,
                    hit.snippet,
                    tuple((each.start, each.end) for each in hit.highlights),
                )
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def count(
        self, query: str, *, tags: Iterable[str] = (), wait: bool = True, timeout: float | None = None
    ) -> int:
        """The number of notes that match a search, as find has it."""
        request = similarity_pb2.SearchNodesRequest(
            user_id=self._calls.user, query=query, tags=tags, page_size=1, consistency_token=self._tokens(wait=wait)
        )
        answer = await self._call("SearchNodes", request, similarity_pb2.SearchNodesResponse, timeout)
        return int(answer.total)

    async def similar(
        self,
        node_id: str = "",
        *,
        text: str = "",
        title: str = "",
        limit: int = 10,
        min_score: float = 0.0,
        wait: bool = True,
        timeout: float | None = None,
    ) -> tuple[Similar, ...]:
        """The notes that are most similar to a note or to a text, best first, with the keywords that explain each.

        Give node_id, or text with an optional title. limit: at most 100. Errors: NotFound (the note is not indexed).
        """
        request = similarity_pb2.FindSimilarRequest(
            user_id=self._calls.user,
            node_id=node_id,
            text=text,
            title=title,
            limit=limit,
            min_score=min_score,
            consistency_token=self._tokens(wait=wait),
        )
        answer = await self._call("FindSimilar", request, similarity_pb2.FindSimilarResponse, timeout)
        return tuple(Similar.of(node) for node in answer.nodes)

    async def suggest(self, node_id: str, *, limit: int = 10, timeout: float | None = None) -> tuple[Similar, ...]:
        """Similar notes that are not linked with the note and whose link was not rejected; at most 50."""
        request = similarity_pb2.SuggestLinksRequest(user_id=self._calls.user, node_id=node_id, limit=limit)
        answer = await self._call("SuggestLinks", request, similarity_pb2.SuggestLinksResponse, timeout)
        return tuple(Similar.of(node) for node in answer.nodes)

    async def explain(self, node_id: str, other_node_id: str, *, timeout: float | None = None) -> Explanation:
        """Why two notes are similar, and the score that an automatic link would need. Errors: NotFound."""
        request = similarity_pb2.ExplainSimilarityRequest(
            user_id=self._calls.user, node_id=node_id, other_node_id=other_node_id
        )
        answer = await self._call("ExplainSimilarity", request, similarity_pb2.ExplainSimilarityResponse, timeout)
        return Explanation(
            answer.score,
            answer.threshold,
            tuple(Reason(each.keyword, each.contribution) for each in answer.shared_keywords),
            answer.mentioned_title,
            answer.mentioned_by_title,
            answer.near_duplicate,
        )

    async def keywords(
        self, node_id: str = "", *, text: str = "", title: str = "", limit: int = 10, timeout: float | None = None
    ) -> tuple[Keyword, ...]:
        """The keywords of a note or of a text, largest weight first; at most 50. Errors: NotFound."""
        request = similarity_pb2.ExtractKeywordsRequest(
            user_id=self._calls.user, node_id=node_id, text=text, title=title, limit=limit
        )
        answer = await self._call("ExtractKeywords", request, similarity_pb2.ExtractKeywordsResponse, timeout)
        return tuple(Keyword(each.keyword, each.weight, each.document_frequency) for each in answer.keywords)

    async def with_keyword(
        self, keyword: str, *, page_size: int = 100, wait: bool = True, timeout: float | None = None
    ) -> AsyncIterator[str]:
        """The node_ids of the notes that have a keyword among their most salient ones."""
        request = similarity_pb2.ListNodesByKeywordRequest(
            user_id=self._calls.user,
            keyword=keyword,
            page_size=page_size,
            consistency_token=self._tokens(wait=wait),
        )
        while True:
            answer = await self._call("ListNodesByKeyword", request, similarity_pb2.ListNodesByKeywordResponse, timeout)
            for node in answer.nodes:
                yield node.node_id
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def mentions(
        self, node_id: str, *, page_size: int = 20, wait: bool = True, timeout: float | None = None
    ) -> AsyncIterator[Mention]:
        """The notes whose text links to a note, and then those that only mention its title or an alias.

        Pages are read as the iterator goes. Errors: NotFound (the note is not indexed).
        """
        request = similarity_pb2.ListMentionsRequest(
            user_id=self._calls.user,
            node_id=node_id,
            page_size=page_size,
            consistency_token=self._tokens(wait=wait),
        )
        while True:
            answer = await self._call("ListMentions", request, similarity_pb2.ListMentionsResponse, timeout)
            for mention in answer.mentions:
                yield Mention(
                    mention.node_id,
                    mention.title,
                    mention.links,
                    tuple(Passage(each.text, (each.highlight.start, each.highlight.end)) for each in mention.passages),
                )
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def settings(self, *, timeout: float | None = None) -> SearchSettings:
        """The user's settings for search and automatic links."""
        request = similarity_pb2.GetUserSettingsRequest(user_id=self._calls.user)
        return _settings(await self._call("GetUserSettings", request, similarity_pb2.GetUserSettingsResponse, timeout))

    async def update_settings(
        self, settings: SearchSettings, *, request_id: str = "", timeout: float | None = None
    ) -> SearchSettings:
        """Replace the user's settings for search and automatic links. Errors: InvalidArgument."""
        request = similarity_pb2.UpdateUserSettingsRequest(
            user_id=self._calls.user,
            settings=similarity_pb2.UserSettings(
                language=settings.language, link_threshold=settings.link_threshold, max_links=settings.max_links
            ),
        )
        if settings.auto_link is not None:
            request.settings.auto_link = settings.auto_link
        answer = await self._call(
            "UpdateUserSettings", request, similarity_pb2.UpdateUserSettingsResponse, timeout, request_id
        )
        return _settings(answer)

    def _tokens(self, *, wait: bool) -> str:
        """The tokens of this client's writes that no search has waited for yet."""
        return self._calls.memory.unsearched() if wait else ""

    async def _call(self, name: str, request: Any, response: Any, timeout: float | None, request_id: str = "") -> Any:
        answer = await self._calls.unary("similarity", _SERVICE + name, request, response, timeout, request_id)
        self._calls.memory.searched(getattr(request, "consistency_token", ""))
        return answer


def _settings(answer: Any) -> SearchSettings:
    found = answer.settings
    auto_link = found.auto_link if found.HasField("auto_link") else None
    return SearchSettings(found.language, auto_link, found.link_threshold, found.max_links)
