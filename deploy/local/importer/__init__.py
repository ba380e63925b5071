"""Imports notes into a running Brain2: `python -m deploy.local import FILE|FOLDER --user U`.

A file holds JSON lines (plain or gzip) or an export; a folder holds Markdown. See jsonlines.py and markdown.py for what
is read, send.py for how it is stored.
"""

from deploy.local.importer.main import add_arguments, main

__all__ = ["add_arguments", "main"]
