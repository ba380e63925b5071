"""Query on the embedded store, whose key order is ours (deploy/local/ministack_query.py), against a model."""

import random

from shared.dynamo import Table
from tests.support.stores import Stores


async def test_queries_find_what_a_model_finds(stores: Stores, user: str) -> None:
    rng = random.Random(1)
    pk = f"USER#{user}"
    model: dict[str, int] = {}
    async with stores.client("dynamodb") as client:
        table = Table(client, stores.environment("graph")["BRAIN2_TABLE"])
        for step in range(60):
            puts = {f"{rng.choice('AB')}#{rng.randrange(40):02}": step for _ in range(5)}
            deletes = {key for key in rng.sample(sorted(model), min(3, len(model))) if key not in puts}
            await table.batch_write([{"PK": pk, "SK": k, "v": v} for k, v in puts.items()], [(pk, k) for k in deletes])
            model = {k: v for k, v in (model | puts).items() if k not in deletes}
            prefix = rng.choice(("A#", "B#", "A#1", "nothing", ""))
            after = rng.choice((None, "A#10", "B#2", "B#20"))
            descending = rng.random() < 0.5
            expected = sorted(
                (k for k in model if k.startswith(prefix) and (after is None or k > after)), reverse=descending
            )
            found: list[str] = []
            start = None
            while True:
                page = await table.query(
                    pk,
                    begins_with=prefix or None,
                    after=after,
                    descending=descending,
                    limit=rng.choice((1, 3, 50)),
                    start=start,
                )
                found += [item["SK"] for item in page.items]
                start = page.next_start
                if start is None:
                    break
            assert found == expected
            assert [item["v"] for item in await _all(table, pk, expected)] == [model[k] for k in expected]


async def _all(table: Table, pk: str, keys: list[str]) -> list[dict[str, int]]:
    items = await table.batch_get([(pk, key) for key in keys])
    return [items[pk, key] for key in keys]
