"""The embedded store's queues: a call goes through few of the messages that a queue holds, and loses none of them."""

from types import SimpleNamespace
from typing import Any

import pytest

from deploy.local import ministack_queues


class Module:
    """A stand-in for ministack.services.sqs, which notes how many messages each function goes through."""

    def __init__(self, messages: list[dict[str, Any]], *, fifo: bool = False) -> None:
        self.now = 100.0
        self.queue: dict[str, Any] = {"messages": messages, "is_fifo": fifo, "attributes": {"QueueArn": "arn"}}
        self.seen: list[tuple[str, int]] = []
        self.dead: list[Any] = []
        self.sqs = SimpleNamespace(
            _expire_retained=lambda queue: self._note("expire", queue),
            _dlq_sweep=self._sweep,
            _collect_msgs=self._collect,
            _get_q=lambda url, action: self.queue,
            _HANDLERS={"DeleteMessageBatch": self._delete, "ChangeMessageVisibilityBatch": self._hide},
        )
        ministack_queues.install(self.sqs, lambda: self.now)

    def receive(self, most: int = 10) -> list[Any]:
        """As ministack's own ReceiveMessage does it."""
        self.seen.clear()
        self.sqs._expire_retained(self.queue)
        self.sqs._dlq_sweep(self.queue)
        found: list[Any] = self.sqs._collect_msgs(self.queue, most, 30)
        return [message["id"] for message in found]

    def call(self, name: str, *handles: str) -> Any:
        self.seen.clear()
        return self.sqs._HANDLERS[name]({"Entries": [{"ReceiptHandle": each} for each in handles]}, "url")

    def ids(self) -> list[int]:
        return [message["id"] for message in self.queue["messages"]]

    def _note(self, name: str, queue: Any) -> list[Any]:
        messages: list[Any] = queue["messages"]
        self.seen.append((name, len(messages)))
        return messages

    def _sweep(self, queue: Any) -> None:
        messages = self._note("sweep", queue)
        self.dead += [each for each in messages if each["receive_count"] >= 5 and each["visible_at"] <= self.now]
        queue["messages"] = [each for each in messages if each not in self.dead]

    def _collect(self, queue: Any, most: int, visibility: int) -> list[Any]:
        found = [each for each in self._note("collect", queue) if each["visible_at"] <= self.now][:most]
        for each in found:
            each["visible_at"], each["receipt_handle"] = self.now + visibility, f"handle {each['id']}"
            each["receive_count"] += 1
        return found

    def _delete(self, data: Any, url: str) -> Any:
        handles = [entry["ReceiptHandle"] for entry in data["Entries"]]
        messages = self._note("delete", self.queue)
        self.queue["messages"] = [each for each in messages if each["receipt_handle"] not in handles]
        return len(messages) - len(self.queue["messages"])

    def _hide(self, data: Any, url: str) -> Any:
        for each in self._note("hide", self.queue):
            each["visible_at"] = self.now + 300
        return None


def messages(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"id": number, "visible_at": 0.0, "receipt_handle": None, "receive_count": 0, **fields}
        for number in range(count)
    ]


def test_a_receive_looks_at_the_messages_that_it_takes() -> None:
    module = Module(messages(1000))
    assert module.receive() == list(range(10))
    assert module.seen == [("expire", 1000), ("collect", 10)]
    assert module.receive() == list(range(10, 20)), "those in flight are passed over"
    assert module.seen == [("collect", 10)], "retention is days: it is not looked at each time"
    assert module.ids() == list(range(1000))


def test_what_was_received_too_often_is_a_dead_letter_before_others_are_received() -> None:
    module = Module(messages(1000))
    module.queue["messages"][3]["receive_count"] = 5
    assert module.receive(4) == [0, 1, 2, 4]
    assert [message["id"] for message in module.dead] == [3]
    assert 3 not in module.ids()
    assert len(module.ids()) == 999


def test_an_expired_message_leaves_the_queue_in_time() -> None:
    module = Module(messages(3))
    module.receive()
    module.now += 11
    module.receive()
    assert ("expire", 3) in module.seen


def test_a_batch_looks_at_its_own_messages() -> None:
    module = Module(messages(1000))
    module.receive(10)
    assert module.call("DeleteMessageBatch", "handle 2", "handle 7", "unknown") == 2
    assert module.seen == [("delete", 2)]
    assert module.ids() == [each for each in range(1000) if each not in (2, 7)]
    module.call("ChangeMessageVisibilityBatch", "handle 1")
    assert module.seen == [("hide", 1)]
    hidden = [message["id"] for message in module.queue["messages"] if message["visible_at"] == module.now + 300]
    assert hidden == [1]
    assert len(module.ids()) == 998


def test_a_call_that_fails_leaves_the_queue_as_it_was() -> None:
    module = Module(messages(20))
    module.receive(5)
    with pytest.raises(KeyError):
        module.sqs._HANDLERS["DeleteMessageBatch"]({"Entries": [{"ReceiptHandle": "handle 1"}, {}]}, "url")
    assert module.ids() == list(range(20))


def test_a_fifo_queue_keeps_its_own_order() -> None:
    module = Module(messages(20), fifo=True)
    module.receive(5)
    assert [name for name, _ in module.seen] == ["expire", "sweep", "collect"]
    assert module.seen[-1] == ("collect", 20)
