"""`make demo`: a guided tour of Brain2 with real notes, on the stack that runs here or on one of its own."""

from deploy.local.demo.main import main

__all__ = ["main"]
