"""The page tokens of ListDeletions."""

import pytest

from services.cleanup_service import convert
from shared.errors import InvalidArgument
from shared.tokens import PAGE, Text, TokenCodec


@pytest.mark.parametrize("position", ["TIMESTAMP#1700000000000#n-1", "TIMESTAMP#1700000000000#USER#a@b.c#NODE#n_1"])
def test_a_position_comes_back(position: str) -> None:
    assert convert.position("f", convert.page_token("f", position)) == position


def test_the_first_page_has_no_token() -> None:
    assert (convert.position("f", ""), convert.page_token("f", "")) == ("", "")


@pytest.mark.parametrize("position", ["", "USER#other", "TIMESTAMP#1#n", "TIMESTAMP#1700000000000#\0", "x" * 2000])
def test_a_forged_position_is_refused(position: str) -> None:
    forged = TokenCodec(PAGE, str, {"at": Text(3000)}).encode("f", position)
    with pytest.raises(InvalidArgument) as caught:
        convert.position("f", forged)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
    assert [each.field for each in caught.value.violations] == ["page_token"]
