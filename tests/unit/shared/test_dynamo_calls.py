"""What ministack never does: throttling, conflicts, unprocessed keys, lost answers. A client that answers by script."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from shared.dynamo import ABSENT, Check, ConditionFailed, Delete, Put, Table, TransactionCancelled, Update
from shared.dynamo.batch import Unprocessed
from shared.dynamo.calls import operations
from shared.errors import Aborted, Brain2Error, Internal, InvalidArgument, ResourceExhausted, Unavailable
from shared.resilience.breaker import Breaker
from shared.resilience.retry import Backoff
from tests.support.clock import ManualClock, Middle

KEY = ("p", "s")
ITEM = {"PK": "p", "SK": "s"}


class Scripted:
    """Each call takes the next of `answers`: an error to raise, a function of the request, or the answer."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        async def call(**request: Any) -> Any:
            self.requests.append(request)
            answer = self.answers.pop(0) if self.answers else {}
            if isinstance(answer, Exception):
                raise answer
            return answer(request) if callable(answer) else answer

        return call


def client_error(code: str, message: str = "", status: int = 400, **more: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, "Op")


def cancelled(*codes: str, **more: Any) -> ClientError:
    return client_error(
        "TransactionCanceledException", CancellationReasons=[{"Code": code, **more.get(code, {})} for code in codes]
    )


THROTTLED = client_error("ProvisionedThroughputExceededException")
LOST = ReadTimeoutError(endpoint_url="x")


def table_of(*answers: Any, breaker: Breaker | None = None) -> tuple[Table, Scripted, ManualClock]:
    clock, client = ManualClock(), Scripted(*answers)
    table = Table(client, "T", sleep=clock.skip, rng=Middle(), backoff=Backoff(1, 8), breaker=breaker)  # type: ignore[arg-type]
    return table, client, clock


async def test_what_was_throttled_is_repeated_with_growing_waits() -> None:
    table, client, clock = table_of(THROTTLED, THROTTLED, {"Item": {"PK": {"S": "p"}}})
    assert await table.get(KEY) == {"PK": "p"}
    assert (len(client.requests), clock.slept) == (3, [0.5, 1.0])


async def test_throttling_that_goes_on_is_resource_exhausted_with_a_time_to_come_back() -> None:
    table, client, _ = table_of(*[THROTTLED] * 10)
    with pytest.raises(ResourceExhausted) as error:
        await table.put(ITEM, condition=ABSENT)
    assert error.value.retry_after
    assert len(client.requests) == 6


WRITES: list[tuple[str, int, Callable[[Table], Any]]] = [
    ("get", 3, lambda table: table.get(KEY)),
    ("query", 3, lambda table: table.query("p")),
    ("plain put", 3, lambda table: table.put(ITEM)),
    ("plain delete", 3, lambda table: table.delete(KEY)),
    ("transaction", 3, lambda table: table.transact([Put(ITEM, ABSENT)])),
    ("conditional put", 1, lambda table: table.put(ITEM, condition=ABSENT)),
    ("put that answers the old item", 1, lambda table: table.put(ITEM, return_old=True)),
    ("update", 1, lambda table: table.update(Update(KEY, "ADD n :one", {}, {":one": 1}))),
]


@pytest.mark.parametrize(("name", "tries", "call"), WRITES, ids=[name for name, _, _ in WRITES])
async def test_only_what_may_be_done_twice_is_repeated_when_its_answer_got_lost(
    name: str, tries: int, call: Callable[[Table], Any]
) -> None:
    table, client, _ = table_of(*[LOST] * 10)
    with pytest.raises(Unavailable):
        await call(table)
    assert len(client.requests) == tries


@pytest.mark.parametrize(
    "after", [THROTTLED, cancelled("TransactionConflict"), client_error("TransactionInProgressException")]
)
async def test_an_error_that_hides_an_answer_that_got_lost_leaves_open_what_was_done(after: Exception) -> None:
    table, client, _ = table_of(LOST, *[after] * 10)
    with pytest.raises(Unavailable):
        await table.transact([Put(ITEM)])
    assert len(client.requests) == 6


async def test_a_condition_that_fails_after_an_answer_that_got_lost_was_looked_at_for_the_first_time() -> None:
    table, _, _ = table_of(LOST, cancelled("ConditionalCheckFailed"))
    with pytest.raises(TransactionCancelled):
        await table.transact([Put(ITEM, ABSENT)])


async def test_a_transaction_is_repeated_under_the_same_token() -> None:
    table, client, _ = table_of(LOST, {})
    await table.transact([Put(ITEM)])
    first, second = (request["ClientRequestToken"] for request in client.requests)
    assert first == second
    assert 1 <= len(first) <= 36


async def test_two_transactions_have_tokens_of_their_own_and_a_callers_token_is_kept() -> None:
    table, client, _ = table_of()
    for token in (None, None, "mine", "x" * 50):
        await table.transact([Put(ITEM)], token=token)
    tokens = [request["ClientRequestToken"] for request in client.requests]
    assert len(set(tokens)) == 4
    assert tokens[2] == "mine"
    assert len(tokens[3]) == 36


async def test_meeting_another_transaction_is_tried_again() -> None:
    table, client, clock = table_of(cancelled("None", "TransactionConflict"), cancelled("ThrottlingError", "None"), {})
    await table.transact([Put(ITEM), Delete(("p", "other"))])
    assert (len(client.requests), len(clock.slept)) == (3, 2)


async def test_a_conflict_that_goes_on_is_told_with_its_reasons() -> None:
    table, client, _ = table_of(*[cancelled("TransactionConflict")] * 10)
    with pytest.raises(TransactionCancelled) as error:
        await table.transact([Put(ITEM)])
    assert error.value.reason == "TRANSACTION_CONFLICT"
    assert [reason.code for reason in error.value.reasons] == ["TransactionConflict"]
    assert len(client.requests) == 6


async def test_a_condition_that_fails_beats_a_conflict_and_shows_the_stored_item() -> None:
    stored = {"PK": {"S": "p"}, "SK": {"S": "s"}, "version": {"N": "7"}}
    table, client, _ = table_of(
        cancelled("TransactionConflict", "ConditionalCheckFailed", "None", ConditionalCheckFailed={"Item": stored})
    )
    with pytest.raises(TransactionCancelled) as error:
        await table.transact([Put(ITEM), Check(("p", "2"), ABSENT), Delete(("p", "3"))])
    assert [reason.failed for reason in error.value.reasons] == [False, True, False]
    assert error.value.reasons[1].item == {"PK": "p", "SK": "s", "version": 7}
    assert len(client.requests) == 1


async def test_a_single_condition_that_fails_carries_the_item_too() -> None:
    table, client, _ = table_of(client_error("ConditionalCheckFailedException", Item={"PK": {"S": "p"}}))
    with pytest.raises(ConditionFailed) as error:
        await table.put(ITEM, condition=ABSENT)
    assert error.value.item == {"PK": "p"}
    assert client.requests[0]["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"


MEANINGS: list[tuple[Exception, type[Brain2Error], str]] = [
    (
        client_error("ValidationException", "Item size has exceeded the maximum allowed size"),
        InvalidArgument,
        "ITEM_TOO_LARGE",
    ),
    (client_error("ValidationException", "Item size to update has exceeded ..."), InvalidArgument, "ITEM_TOO_LARGE"),
    (
        client_error("ValidationException", "The provided starting key is invalid"),
        InvalidArgument,
        "PAGE_TOKEN_INVALID",
    ),
    (client_error("ValidationException", "Invalid KeyConditionExpression"), Internal, "STORE_REFUSED"),
    (client_error("ThrottlingException"), ResourceExhausted, "STORE_THROTTLED"),
    (client_error("InternalServerError", status=500), Unavailable, "STORE_FAILED"),
    (client_error("Whatever", status=503), Unavailable, "STORE_FAILED"),
    (client_error("AccessDeniedException"), Internal, "STORE_ACCESS_DENIED"),
    (client_error("ResourceNotFoundException"), Unavailable, "STORE_NOT_DEPLOYED"),
    (client_error("TransactionConflictException"), Aborted, "TRANSACTION_CONFLICT"),
    (
        cancelled("ValidationError", ValidationError={"Message": "Item size exceeded"}),
        InvalidArgument,
        "ITEM_TOO_LARGE",
    ),
    (cancelled("ThrottlingError"), ResourceExhausted, "STORE_THROTTLED"),
    (ConnectTimeoutError(endpoint_url="x"), Unavailable, "STORE_UNREACHABLE"),
    (ConnectionResetError(), Unavailable, "STORE_UNREACHABLE"),
    (TimeoutError(), Unavailable, "STORE_UNREACHABLE"),
]


@pytest.mark.parametrize(("error", "kind", "reason"), MEANINGS)
async def test_each_error_has_one_meaning(error: Exception, kind: type[Brain2Error], reason: str) -> None:
    table, _, _ = table_of(*[error] * 10)
    with pytest.raises(kind) as raised:
        await table.transact([Put(ITEM)])
    assert raised.value.reason == reason
    assert raised.value.__cause__ is error


async def test_an_error_of_our_own_code_is_not_dressed_up() -> None:
    table, _, _ = table_of(KeyError("bug"))
    with pytest.raises(KeyError):
        await table.get(KEY)


async def test_a_dead_store_opens_the_breaker_and_a_throttled_one_does_not() -> None:
    clock = ManualClock()
    table, client, _ = table_of(*[THROTTLED] * 12, *[LOST] * 10, breaker=Breaker("dynamodb", clock, failures=5))
    for _ in range(2):
        with pytest.raises(ResourceExhausted):
            await table.get(KEY)
    assert states(table) == {"closed"}
    for _ in range(2):
        with pytest.raises(Unavailable):
            await table.get(KEY)
    assert states(table) == {"closed", "open"}
    assert len(client.requests) == 17  # the sixth try on the dead store was refused by the breaker
    with pytest.raises(Unavailable, match="isn't answering"):
        await table.get(KEY)
    assert len(client.requests) == 17


async def test_an_operation_that_gets_no_answers_keeps_no_other_out() -> None:
    table, client, _ = table_of(breaker=Breaker("dynamodb", ManualClock(), failures=5))
    client.answers = [LOST] * 5
    for _ in range(2):
        with pytest.raises(Unavailable):
            await table.query("p")
    with pytest.raises(Unavailable, match="isn't answering"):
        await table.query("p")
    assert await table.get(KEY) is None
    await table.transact([Put(ITEM)])


def states(table: Table) -> set[str]:
    return {breaker.state for breaker in table.breakers}


def keys(count: int) -> list[tuple[str, str]]:
    return [("p", f"{n:04d}") for n in range(count)]


def give(most: int) -> Callable[[dict[str, Any]], Any]:
    """Answer the first `most` keys of a BatchGetItem and hand the others back."""

    def answer(request: dict[str, Any]) -> Any:
        asked = request["RequestItems"]["T"]["Keys"]
        left = {"UnprocessedKeys": {"T": {"Keys": asked[most:]}}} if asked[most:] else {}
        return {"Responses": {"T": asked[:most]}, **left}

    return answer


async def test_batch_get_asks_again_for_what_was_not_processed() -> None:
    table, client, clock = table_of(*[give(30)] * 4)
    found = await table.batch_get(keys(100))
    assert sorted(found) == keys(100)
    assert [len(request["RequestItems"]["T"]["Keys"]) for request in client.requests] == [100, 70, 40, 10]
    assert len(clock.slept) == 3


async def test_batch_get_gives_up_when_nothing_moves_and_lists_what_is_left() -> None:
    table, client, clock = table_of(give(98), *[give(0)] * 20)
    with pytest.raises(Unprocessed) as error:
        await table.batch_get(keys(100))
    assert sorted(error.value.left) == keys(100)[98:]
    assert len(client.requests) == 9
    assert clock.slept == sorted(clock.slept)


async def test_batch_write_takes_25_at_a_time_and_writes_again_what_was_handed_back() -> None:
    written: Counter[str] = Counter()

    def take(request: dict[str, Any]) -> Any:
        asked = request["RequestItems"]["T"]
        assert len(asked) <= 25
        for one in asked[:20]:
            written[one["PutRequest"]["Item"]["SK"]["S"]] += 1
        return {"UnprocessedItems": {"T": asked[20:]} if asked[20:] else {}}

    table, _, _ = table_of(*[take] * 20)
    await table.batch_write([{"PK": pk, "SK": sk} for pk, sk in keys(60)])
    assert written == Counter(sk for _, sk in keys(60))


async def test_a_throttled_partition_keeps_no_other_from_the_store() -> None:
    table, client, _ = table_of(breaker=Breaker("dynamodb", ManualClock(), failures=5))

    def answer(request: dict[str, Any]) -> Any:
        hot = request["Key"]["PK"]["S"] == "hot" if "Key" in request else True
        if "TransactItems" in request:
            raise cancelled("ThrottlingError", "None")
        if "RequestItems" in request:
            return {"UnprocessedKeys": request["RequestItems"]}
        if hot:
            raise THROTTLED
        return {"Item": {"PK": {"S": "cold"}}}

    client.answers = [answer] * 1_000
    for _ in range(20):
        for call in (
            table.get(("hot", "s")),
            table.transact([Put(ITEM, ABSENT), Delete(("p", "2"))]),
            table.batch_get([("hot", "1"), ("hot", "2")]),
        ):
            with pytest.raises(ResourceExhausted):
                await call
        assert await table.get(("cold", "s")) == {"PK": "cold"}
    assert states(table) == {"closed"}


async def test_batch_write_that_can_not_go_on_lists_what_is_left_of_every_chunk() -> None:
    def refuse(request: dict[str, Any]) -> Any:
        return {"UnprocessedItems": request["RequestItems"]}

    table, _, _ = table_of(*[refuse] * 100)
    with pytest.raises(Unprocessed) as error:
        await table.batch_write(deletes=keys(40))
    assert sorted(error.value.left) == keys(40)


async def test_a_key_is_written_once_in_a_batch_and_the_last_put_wins() -> None:
    table, client, _ = table_of()
    await table.batch_write([{**ITEM, "n": 1}, {**ITEM, "n": 2}], deletes=[KEY, ("p", "gone")])
    [request] = client.requests
    asked = request["RequestItems"]["T"]
    assert {"PutRequest": {"Item": {"PK": {"S": "p"}, "SK": {"S": "s"}, "n": {"N": "2"}}}} in asked
    assert {"DeleteRequest": {"Key": {"PK": {"S": "p"}, "SK": {"S": "gone"}}}} in asked
    assert len(asked) == 2


async def test_nothing_to_do_asks_nothing() -> None:
    table, client, _ = table_of()
    assert await table.batch_get([]) == {}
    await table.batch_write()
    await table.transact([])
    assert client.requests == []


async def test_a_transaction_names_an_item_once_and_at_most_100() -> None:
    table, _, _ = table_of()
    with pytest.raises(ValueError, match="twice"):
        await table.transact([Put(ITEM), Delete(KEY)])
    with pytest.raises(ValueError, match="100"):
        await table.transact([Delete(key) for key in keys(101)])


async def test_every_operation_is_counted_retries_too() -> None:
    table, _, _ = table_of(THROTTLED, {}, {})
    before = Counter(operations)
    await table.get(KEY)
    await table.query("p")
    assert operations - before == Counter({"GetItem": 2, "Query": 1})


def test_a_table_can_not_scan() -> None:
    assert not [name for name in dir(Table) if "scan" in name.lower()]


async def test_consumed_units_are_counted_by_operation_and_index_if_asked_for() -> None:
    of_table = {
        "CapacityUnits": 3.0,
        "Table": {"CapacityUnits": 2.0},
        "GlobalSecondaryIndexes": {"I": {"CapacityUnits": 1.0}},
    }
    client = Scripted({"ConsumedCapacity": of_table}, {"ConsumedCapacity": [of_table, {"CapacityUnits": 5.0}]})
    table = Table(client, "t", measure=True)  # type: ignore[arg-type]
    await table.put(ITEM)
    await table.transact([Put(ITEM)])
    assert all(request["ReturnConsumedCapacity"] == "INDEXES" for request in client.requests)
    assert dict(table.usage.units) == {
        ("PutItem", "table"): 2,
        ("PutItem", "I"): 1,
        ("TransactWriteItems", "table"): 7,
        ("TransactWriteItems", "I"): 1,
    }


async def test_throttled_requests_are_counted_each_time() -> None:
    table, client, _ = table_of(THROTTLED, THROTTLED, {})
    await table.get(KEY)
    assert table.usage.throttled["GetItem"] == 2
    assert "ReturnConsumedCapacity" not in client.requests[0]
