"""What the node context does: one module for each RPC, named after it, with a function of the same name.

A use case takes Notes (usecases/notes.py), the ports that it works with. convert.py has translated the request before.
"""
