"""SimilarityService as gRPC sees it: message -> use case -> message. No rules, no try."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from protos.similarity.v1 import similarity_pb2 as pb
from services.similarity_service import convert
from services.similarity_service.model.score import METHOD
from services.similarity_service.usecases.finding import Finding
from services.similarity_service.usecases.indexing import Indexing
from services.similarity_service.usecases.preferences import Preferences
from services.similarity_service.usecases.reindexing import Reindexing
from services.similarity_service.usecases.searching import Searching
from shared.idempotency import Idempotency, IdempotentRequest


@dataclass(frozen=True, slots=True)
class SimilarityServicer:
    """One method an RPC; what each promises is said in protos/similarity/v1/similarity.proto."""

    finding: Finding
    searching: Searching
    indexing: Indexing
    reindexing: Reindexing
    preferences: Preferences
    idempotency: Idempotency

    async def ExtractKeywords(self, request: pb.ExtractKeywordsRequest, context: Any) -> pb.ExtractKeywordsResponse:
        found = await self.finding.extract_keywords(
            request.user_id, request.node_id, request.text, request.title, request.limit
        )
        return pb.ExtractKeywordsResponse(keywords=[convert.keyword(each) for each in found])

    async def FindSimilar(self, request: pb.FindSimilarRequest, context: Any) -> pb.FindSimilarResponse:
        found = await self.finding.find_similar(
            request.user_id, request.node_id, request.text, request.title, request.limit, request.min_score
        )
        return pb.FindSimilarResponse(nodes=[convert.similar(each) for each in found], method=METHOD)

    async def ExplainSimilarity(
        self, request: pb.ExplainSimilarityRequest, context: Any
    ) -> pb.ExplainSimilarityResponse:
        found = await self.finding.explain_similarity(request.user_id, request.node_id, request.other_node_id)
        return convert.explanation(found, METHOD)

    async def SuggestLinks(self, request: pb.SuggestLinksRequest, context: Any) -> pb.SuggestLinksResponse:
        found = await self.finding.suggest_links(request.user_id, request.node_id, request.limit)
        return pb.SuggestLinksResponse(nodes=[convert.similar(each) for each in found])

    async def ListNodesByKeyword(
        self, request: pb.ListNodesByKeywordRequest, context: Any
    ) -> pb.ListNodesByKeywordResponse:
        found, token = await self.searching.list_nodes_by_keyword(
            request.user_id, request.keyword, request.page_size, request.page_token
        )
        nodes = [pb.KeywordNode(node_id=node_id, weight=weight) for node_id, weight in found]
        return pb.ListNodesByKeywordResponse(nodes=nodes, next_page_token=token)

    async def ListKeywords(self, request: pb.ListKeywordsRequest, context: Any) -> pb.ListKeywordsResponse:
        found, token = await self.searching.list_keywords(
            request.user_id, request.prefix, request.page_size, request.page_token
        )
        keywords = [pb.KeywordCount(keyword=form, nodes=count) for form, count in found]
        return pb.ListKeywordsResponse(keywords=keywords, next_page_token=token)

    async def SearchNodes(self, request: pb.SearchNodesRequest, context: Any) -> pb.SearchNodesResponse:
        page = await self.searching.search_nodes(
            request.user_id, request.query, list(request.tags), request.page_size, request.page_token
        )
        return convert.search_page(page)

    async def ReindexUser(self, request: pb.ReindexUserRequest, context: Any) -> AsyncIterator[pb.ReindexUserResponse]:
        async for progress in self.reindexing.reindex_user(request.user_id, request.relink):
            yield pb.ReindexUserResponse(done=progress.done, total=progress.total, finished=progress.finished)

    async def RemoveNode(self, request: pb.RemoveNodeRequest, context: Any) -> pb.RemoveNodeResponse:
        removed, keywords = await self.indexing.remove(request.user_id, request.node_id, request.version)
        return pb.RemoveNodeResponse(removed=removed, keywords=[convert.keyword(each) for each in keywords])

    async def SetNodeVisibility(
        self, request: pb.SetNodeVisibilityRequest, context: Any
    ) -> pb.SetNodeVisibilityResponse:
        applied = await self.indexing.turn(
            request.user_id, request.node_id, request.version, request.visible, request.incarnation or None
        )
        return pb.SetNodeVisibilityResponse(applied=applied)

    async def GetUserSettings(self, request: pb.GetUserSettingsRequest, context: Any) -> pb.GetUserSettingsResponse:
        chosen = await self.preferences.get_settings(request.user_id)
        return pb.GetUserSettingsResponse(settings=convert.settings_message(chosen))

    async def UpdateUserSettings(self, request: pb.UpdateUserSettingsRequest, context: Any) -> bytes:
        async def work() -> bytes:
            choices = await self.preferences.update_settings(
                request.user_id, convert.settings(request.settings), request.update_mask.paths
            )
            return convert.updated(choices).SerializeToString()

        return await self.idempotency.run(IdempotentRequest.of("UpdateUserSettings", request), work)
