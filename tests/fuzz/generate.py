"""Requests that no careful caller sends: made from the descriptors of the API, so that a new field is fuzzed at once.

Everything comes from one seeded random.Random: a seed and the number of an input give the same bytes again, but for the
tokens and etags, which are picked from earlier answers.
"""

import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from protos.options.rules import traits
from protos.options.v1 import options_pb2
from shared.grpc.validation import rules_of

TEXTS = [
    "", " ", "a", "A" * 65, "#", "a#b", "../..", "\0", "a\nb", "\u202eab", "\u200b", "\u2028", "é" * 40, "🙂", "\ufeff",
    "null", "-", "%s%n", "{}", "' OR 1=1", "USER#x", "NODE#x", "\x1b[31m", "a_" * 40, "*", '"', "tag:", "title",
    "content", "retention", "*.b", "a.b.c", "1e309", "\U0010ffff", "\u0301" * 50,
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 10, 49, 50, 51, 100, 101, 500, 1000, 1001, 65_536, 2**31 - 1, -(2**31), 2**31, 2**32 - 1, 2**53,
    2**63 - 1, -(2**63), 2**64 - 1, 253_402_300_800, -62_135_596_801,
]  # fmt: skip
FLOATS = [
    0.0, 1.0, 0.5, -0.0, -1.0, 1.0000001, 1e-130, 1e-131, 1e-308, 5e-324, 1e125, 1e126, 1.7e308,
    math.inf, -math.inf, math.nan,
]  # fmt: skip
# Each of these is large, so it is rare.
LARGE = ["x" * 300_000, "\u0301" * 40_000, "a" + "_" * 60_000, "word " * 20_000, "é" * 131_072, "(" * 100_000]
_INTEGERS: dict[int, tuple[int, int]] = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
# Of a call that reads, or writes, all that a user has: without this they are a tenth of the inputs and take most of the
# time.
_BULK_WEIGHT = 0.1
_MOST_DEPTH = 6
_MOST_TOKENS = 500


class Input(NamedTuple):
    """One request. user_id: whose it is, "" for none; valid: made to keep all limits, and not garbled."""

    method: MethodDescriptor
    data: bytes
    user_id: str
    valid: bool


class Generator:
    """Makes inputs. users: the only users that a request names, but for texts that are no user at all.

    learn() takes the answers: their tokens and etags are sent again, also to other methods, whole and garbled.
    """

    def __init__(self, seed: int, methods: Sequence[MethodDescriptor], users: Sequence[str]) -> None:
        self._draw = random.Random(seed)
        self._methods = methods
        self._weights = [_BULK_WEIGHT if _is_long(method) else 1.0 for method in methods]
        self._users = users
        self._node_ids = [f"n{number}" for number in range(12)]
        self._tokens: list[str] = ["", "AAAA", "e30", "x" * 5000]
        self.words = ["tea", "clay", "pot", "green", "glaze", "kiln"]

    def input(self) -> Input:
        """The next input."""
        draw = self._draw
        [method] = draw.choices(self._methods, self._weights)
        user_id = draw.choice(self._users)
        how = draw.random()
        if how < 0.45:
            message = self._message(method.input_type, user_id, wild=0.0, depth=0)
            return Input(method, message.SerializeToString(), user_id, True)
        if how < 0.85:
            wild = draw.choice((0.05, 0.2, 0.6))
            message = self._message(method.input_type, user_id, wild=wild, depth=0)
            return Input(method, message.SerializeToString(), user_id, False)
        if how < 0.97:
            message = self._message(method.input_type, user_id, wild=0.1, depth=0)
            return Input(method, self.garbled(message.SerializeToString()), "", False)
        return Input(method, draw.randbytes(draw.choice((0, 1, 2, 7, 64, 1000))), "", False)

    def learn(self, answer: Message) -> None:
        """Keep the tokens and etags of an answer."""
        for field, value in answer.ListFields():
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                if field.name.endswith(("token", "etag", "erasure_id")):
                    self._keep(value)
            elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
                for each in list(value)[:3] if field.is_repeated else [value]:
                    self.learn(each)

    def garbled(self, data: bytes) -> bytes:
        """Bytes with some of them changed, cut off, repeated or put in."""
        draw, found = self._draw, bytearray(data)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(found) + 1)
            how = draw.randrange(5)
            if how == 0:
                del found[at:]
            elif how == 1:
                found[at:at] = draw.randbytes(draw.randint(1, 8))
            elif how == 2 and at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            elif how == 3:
                found[at:at] = found[: draw.randint(0, 200)]
            else:
                found += bytes([draw.randrange(256)]) * draw.randint(1, 20)
        return bytes(found)

    def _keep(self, token: str) -> None:
        if token and token not in self._tokens:
            if len(self._tokens) >= _MOST_TOKENS:
                self._tokens[self._draw.randrange(_MOST_TOKENS)] = token
            else:
                self._tokens.append(token)

    def _message(self, kind: Descriptor, user_id: str, *, wild: float, depth: int) -> Message:
        message: Any = GetMessageClass(kind)()
        draw = self._draw
        for field in kind.fields:
            rules = rules_of(field)
            needed = rules.required or rules.min_items or rules.pattern or field.name in ("user_id", "title")
            if depth > _MOST_DEPTH or (not needed and draw.random() < 0.5) or (needed and draw.random() < wild / 2):
                continue
            if field.is_repeated:
                self._fill(message, field, user_id, wild, depth)
            elif field.message_type is not None:
                getattr(message, field.name).CopyFrom(
                    self._message(field.message_type, user_id, wild=wild, depth=depth + 1)
                )
            else:
                setattr(message, field.name, self._scalar(field, user_id, wild))
        return message  # type: ignore[no-any-return]

    def _fill(self, message: Any, field: FieldDescriptor, user_id: str, wild: float, depth: int) -> None:
        draw, values = self._draw, getattr(message, field.name)
        most = rules_of(field).max_items or 5
        count = max(draw.choice((0, 1, 2, 3, min(most, 20))), rules_of(field).min_items)
        if draw.random() < wild / 4:
            count = min(most + 1, 2_000)
        assert field.message_type is not None or field.type is not None
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for number in range(min(count, 40)):
                values[self._text(field, wild) or f"k{number}"] = self._text(field, wild)[:2000]
        elif field.message_type is not None:
            for _ in range(count):
                values.append(self._message(field.message_type, user_id, wild=wild, depth=depth + 1))
        else:
            for number in range(count):
                value = self._scalar(field, user_id, wild)
                unique = isinstance(value, str) and not wild and not value.startswith("n")
                values.append(f"{value}{number}" if unique else value)

    def _scalar(self, field: FieldDescriptor, user_id: str, wild: float) -> Any:
        draw, rules = self._draw, rules_of(field)
        strange = draw.random() < wild
        if field.type == FieldDescriptor.TYPE_BOOL:
            return draw.random() < 0.5
        if field.type == FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            known = list(field.enum_type.values_by_number)
            return draw.choice((-1, 99, 2**31 - 1)) if strange else draw.choice(known)
        if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            return draw.choice(FLOATS) if strange else draw.choice((0.0, 0.25, 1.0))
        if field.type in _INTEGERS:
            low, high = _INTEGERS[field.type]
            if strange:
                return max(low, min(high, draw.choice(NUMBERS)))
            return max(int(rules.gte) if rules.HasField("gte") else low, min(high, draw.choice((0, 1, 2, 3, 20))))
        if field.type == FieldDescriptor.TYPE_BYTES:
            return draw.randbytes(draw.choice((0, 1, 100)))
        return self._string(field, user_id, wild)

    def _string(self, field: FieldDescriptor, user_id: str, wild: float) -> str:
        draw, name = self._draw, field.name
        if draw.random() < wild:
            return self._text(field, wild)
        if "user_id" in name:
            return user_id
        if name.endswith(("token", "etag", "erasure_id")):
            if draw.random() < 0.6:
                return ""
            token = draw.choice(self._tokens)
            if draw.random() < 0.3:
                token = self.garbled(token.encode()).decode("latin-1")
            return token
        if name == "request_id":
            return draw.choice(("", f"r{draw.randrange(200)}"))
        if name == "paths":
            return draw.choice(("title", "content", "tags", "metadata", "retention", "language", "weight", "max_links"))
        if rules_of(field).pattern == options_pb2.PATTERN_EDGE_TYPE:
            return draw.choice(("", "related", "cites"))
        if rules_of(field).pattern == options_pb2.PATTERN_ID:
            return draw.choice(self._node_ids)
        return self._words(user_id)

    def _text(self, field: FieldDescriptor, wild: float) -> str:
        draw = self._draw
        if draw.random() < 0.02 * wild:
            return draw.choice(LARGE)
        most = rules_of(field).max_bytes
        if most and most <= 300_000 and draw.random() < 0.05 * wild:
            return "x" * (most + draw.randint(0, 1))
        return draw.choice(TEXTS)

    def _words(self, user_id: str) -> str:
        """Some words, and one that only this user's texts have."""
        return " ".join([*self._draw.choices(self.words, k=self._draw.randint(1, 5)), canary(user_id)])


def _is_long(method: MethodDescriptor) -> bool:
    return traits(method).bulk or method.name == "EraseUser"


def canary(user_id: str) -> str:
    """A word that is in texts of this user alone."""
    return "canary" + "".join(part for part in user_id if part.isalnum())
