"""SimilarityService: each RPC calls its use case with the fields of the request, and converts what it returns."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from protos.similarity.v1 import similarity_pb2 as pb
from services.similarity_service import convert
from services.similarity_service.model.score import METHOD
from services.similarity_service.usecases.announce_node_visibility import AnnounceNodeVisibility
from services.similarity_service.usecases.explain_similarity import ExplainSimilarity
from services.similarity_service.usecases.extract_keywords import ExtractKeywords
from services.similarity_service.usecases.find_similar import FindSimilar
from services.similarity_service.usecases.list_keywords import ListKeywords
from services.similarity_service.usecases.list_mentions import ListMentions
from services.similarity_service.usecases.list_nodes_by_keyword import ListNodesByKeyword
from services.similarity_service.usecases.reindex_user import ReindexUser
from services.similarity_service.usecases.remove_node import RemoveNode
from services.similarity_service.usecases.rename_node import RenameNode
from services.similarity_service.usecases.search_nodes import SearchNodes
from services.similarity_service.usecases.set_node_visibility import SetNodeVisibility
from services.similarity_service.usecases.suggest_links import SuggestLinks
from services.similarity_service.usecases.user_settings import UserSettingsCache
from services.similarity_service.usecases.wait_for_index import WaitForIndex
from shared.idempotency import Idempotency, IdempotentRequest


@dataclass(frozen=True, slots=True)
class SimilarityServicer:
    """One method for each RPC; protos/similarity/v1/similarity.proto documents them."""

    extract_keywords: ExtractKeywords
    find_similar: FindSimilar
    explain_similarity: ExplainSimilarity
    suggest_links: SuggestLinks
    list_nodes_by_keyword: ListNodesByKeyword
    list_keywords: ListKeywords
    search_nodes: SearchNodes
    list_mentions: ListMentions
    rename_node: RenameNode
    wait_for_index: WaitForIndex
    reindex_user: ReindexUser
    remove_node: RemoveNode
    set_node_visibility: SetNodeVisibility
    announce_node_visibility: AnnounceNodeVisibility
    user_settings: UserSettingsCache
    idempotency: Idempotency

    async def ExtractKeywords(self, request: pb.ExtractKeywordsRequest, context: Any) -> pb.ExtractKeywordsResponse:
        found = await self.extract_keywords(
            request.user_id, request.node_id, request.text, request.title, request.limit
        )
        return pb.ExtractKeywordsResponse(keywords=[convert.keyword(each) for each in found])

    async def FindSimilar(self, request: pb.FindSimilarRequest, context: Any) -> pb.FindSimilarResponse:
        await self.wait_for_index(request.user_id, request.consistency_token)
        found = await self.find_similar(
            request.user_id, request.node_id, request.text, request.title, request.limit, request.min_score
        )
        return pb.FindSimilarResponse(nodes=[convert.similar(each) for each in found], method=METHOD)

    async def ExplainSimilarity(
        self, request: pb.ExplainSimilarityRequest, context: Any
    ) -> pb.ExplainSimilarityResponse:
        found = await self.explain_similarity(request.user_id, request.node_id, request.other_node_id)
        return convert.explanation(found, METHOD)

    async def SuggestLinks(self, request: pb.SuggestLinksRequest, context: Any) -> pb.SuggestLinksResponse:
        found = await self.suggest_links(request.user_id, request.node_id, request.limit)
        return pb.SuggestLinksResponse(nodes=[convert.similar(each) for each in found])

    async def ListNodesByKeyword(
        self, request: pb.ListNodesByKeywordRequest, context: Any
    ) -> pb.ListNodesByKeywordResponse:
        written = await self.wait_for_index(request.user_id, request.consistency_token)
        found, token = await self.list_nodes_by_keyword(
            request.user_id, request.keyword, request.page_size, request.page_token, written
        )
        nodes = [pb.KeywordNode(node_id=node_id, weight=weight) for node_id, weight in found]
        return pb.ListNodesByKeywordResponse(nodes=nodes, next_page_token=token)

    async def ListKeywords(self, request: pb.ListKeywordsRequest, context: Any) -> pb.ListKeywordsResponse:
        found, token = await self.list_keywords(request.user_id, request.prefix, request.page_size, request.page_token)
        keywords = [pb.KeywordCount(keyword=form, nodes=count) for form, count in found]
        return pb.ListKeywordsResponse(keywords=keywords, next_page_token=token)

    async def SearchNodes(self, request: pb.SearchNodesRequest, context: Any) -> pb.SearchNodesResponse:
        await self.wait_for_index(request.user_id, request.consistency_token)
        page = await self.search_nodes(
            request.user_id, request.query, list(request.tags), request.page_size, request.page_token
        )
        return convert.search_page(page)

    async def ListMentions(self, request: pb.ListMentionsRequest, context: Any) -> pb.ListMentionsResponse:
        await self.wait_for_index(request.user_id, request.consistency_token)
        page = await self.list_mentions(request.user_id, request.node_id, request.page_size, request.page_token)
        return convert.mention_page(page)

    async def RenameNode(self, request: pb.RenameNodeRequest, context: Any) -> pb.RenameNodeResponse:
        renaming = await self.rename_node(
            request.user_id, request.node_id, request.title, request.rewrite_links, request.etag
        )
        return convert.renaming(renaming)

    async def ReindexUser(self, request: pb.ReindexUserRequest, context: Any) -> AsyncIterator[pb.ReindexUserResponse]:
        async for progress in self.reindex_user(request.user_id, request.relink):
            yield pb.ReindexUserResponse(done=progress.done, total=progress.total, finished=progress.finished)

    async def RemoveNode(self, request: pb.RemoveNodeRequest, context: Any) -> pb.RemoveNodeResponse:
        removed, keywords = await self.remove_node.checked(request.user_id, request.node_id, request.version)
        return pb.RemoveNodeResponse(removed=removed, keywords=[convert.keyword(each) for each in keywords])

    async def SetNodeVisibility(
        self, request: pb.SetNodeVisibilityRequest, context: Any
    ) -> pb.SetNodeVisibilityResponse:
        applied = await self.set_node_visibility.checked(
            request.user_id,
            request.node_id,
            request.version,
            visible=request.visible,
            incarnation=request.incarnation or None,
        )
        return pb.SetNodeVisibilityResponse(applied=applied)

    async def AnnounceNodeVisibility(
        self, request: pb.AnnounceNodeVisibilityRequest, context: Any
    ) -> pb.AnnounceNodeVisibilityResponse:
        announced = False
        if request.withdraw:
            await self.announce_node_visibility.withdraw(
                request.user_id, request.node_id, request.version, request.announcement_id
            )
        else:
            announced = await self.announce_node_visibility.announce(
                request.user_id,
                request.node_id,
                request.version,
                visible=request.visible,
                incarnation=request.incarnation,
                announcement_id=request.announcement_id,
            )
        return pb.AnnounceNodeVisibilityResponse(announced=announced)

    async def GetUserSettings(self, request: pb.GetUserSettingsRequest, context: Any) -> pb.GetUserSettingsResponse:
        chosen = await self.user_settings.get_user_settings(request.user_id)
        return pb.GetUserSettingsResponse(settings=convert.user_settings_message(chosen))

    async def UpdateUserSettings(self, request: pb.UpdateUserSettingsRequest, context: Any) -> bytes:
        async def work() -> bytes:
            saved = await self.user_settings.update_user_settings(
                request.user_id, convert.user_settings(request.settings), request.update_mask.paths
            )
            return convert.updated(saved).SerializeToString()

        return await self.idempotency.run(IdempotentRequest.of("UpdateUserSettings", request), work)
