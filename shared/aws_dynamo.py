"""The client of DynamoDB (shared/aws_json.py), with the operations that are used and no scan (docs/adr/0007).

The values of shared/dynamo already have DynamoDB's own form, so only the base64 of binary values is left to do.
"""

from typing import Any

from shared.aws_json import DYNAMODB, Answer, Credentials, JsonClient


class DynamoClient(JsonClient):
    """`async with DynamoClient(...) as client: await client.get_item(TableName=..., Key=...)`.

    Each request is sent once. The parameters are those of JsonClient.
    """

    def __init__(self, endpoint: str, region: str, credentials: Credentials | None, **options: Any) -> None:
        super().__init__(DYNAMODB, endpoint, region, credentials, **options)

    async def batch_get_item(self, **request: Any) -> Answer:
        return await self._call("BatchGetItem", request)

    async def batch_write_item(self, **request: Any) -> Answer:
        return await self._call("BatchWriteItem", request)

    async def delete_item(self, **request: Any) -> Answer:
        return await self._call("DeleteItem", request)

    async def get_item(self, **request: Any) -> Answer:
        return await self._call("GetItem", request)

    async def put_item(self, **request: Any) -> Answer:
        return await self._call("PutItem", request)

    async def query(self, **request: Any) -> Answer:
        return await self._call("Query", request)

    async def transact_write_items(self, **request: Any) -> Answer:
        return await self._call("TransactWriteItems", request)

    async def update_item(self, **request: Any) -> Answer:
        return await self._call("UpdateItem", request)
