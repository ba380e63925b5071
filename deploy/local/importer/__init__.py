"""Imports notes into a running Brain2: `python -m deploy.local import FOLDER|FILE --user U`.

A folder or a zip holds Markdown; a file holds Markdown, JSON lines (plain or gzip) or an export. markdown.py and
jsonlines.py describe what is read, send.py how it is stored.
"""

from deploy.local.importer.main import add_arguments, main

__all__ = ["add_arguments", "main"]
