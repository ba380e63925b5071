"""Items of erasures that an earlier release has written."""

from services.cleanup_service.adapters.erasures import _erasure_of, _item_of
from services.cleanup_service.model import erasure as erasures


def test_an_erasure_of_an_earlier_release_has_no_trace() -> None:
    erasure = erasures.begin("e-1", "ada", 1_000, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    item = _item_of(erasure)
    assert _erasure_of(item) == erasure
    del item["trace"]
    assert _erasure_of(item).trace == ""
