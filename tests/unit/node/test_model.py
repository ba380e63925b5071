"""What a note derives from its content."""

from services.node_service import model


def test_the_text_decides_excerpt_and_size() -> None:
    assert model.text("é" * 300) == {"content": "é" * 300, "excerpt": "é" * 200, "content_bytes": 600}
    assert model.text("plain")["content_bytes"] == 5
