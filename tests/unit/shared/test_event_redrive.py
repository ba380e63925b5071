"""A look at more dead letters than can be seen while they are hidden."""

from typing import Any

from shared.events.redrive import DeadLetters
from tests.support.clock import ManualClock


class Dead:
    """A queue of letters by the test's clock; each receive takes a while."""

    def __init__(self, clock: ManualClock, letters: int) -> None:
        self._clock = clock
        self._visible_at = {f"m{n}": 0.0 for n in range(letters)}

    async def receive_message(self, **request: Any) -> Any:
        await self._clock.advance(40)
        now = self._clock.monotonic()
        found = [id for id, at in self._visible_at.items() if at <= now][: request["MaxNumberOfMessages"]]
        self._visible_at.update(dict.fromkeys(found, now + request["VisibilityTimeout"]))
        return {
            "Messages": [
                {"MessageId": id, "Body": "", "ReceiptHandle": id, "Attributes": {"SentTimestamp": "0"}} for id in found
            ]
        }

    async def change_message_visibility_batch(self, **request: Any) -> Any:
        assert len(request["Entries"]) <= 10
        now = self._clock.monotonic()
        for entry in request["Entries"]:
            self._visible_at[entry["ReceiptHandle"]] = now + entry["VisibilityTimeout"]
        return {}

    def visible(self) -> int:
        return sum(at <= self._clock.monotonic() for at in self._visible_at.values())


async def test_letters_stay_hidden_until_all_were_seen() -> None:
    clock = ManualClock()
    dead = Dead(clock, 125)
    letters = DeadLetters(dead, "dlq", clock)  # type: ignore[arg-type]
    seen: list[str] = []
    async for letter, _ in letters.redrive("queue", dry_run=True):
        seen.append(letter.id)
        assert len(seen) <= 125, "a letter was seen twice"
    assert len(set(seen)) == 125
    assert dead.visible() == 125
