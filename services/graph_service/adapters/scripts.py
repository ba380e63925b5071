"""The Lua sources in the folder lua, by name. Redis runs each atomically; all keys of one call share a hash tag."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.lua"))}
