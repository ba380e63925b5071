"""A user's notes and links in the forms of other tools: a vault of Markdown files (Obsidian), GraphML, JSON lines."""

from clients.export.records import CutOffError, Records
from clients.export.write import FORMATS, write

__all__ = ["FORMATS", "CutOffError", "Records", "write"]
