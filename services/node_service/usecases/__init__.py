"""What the node context does: writing notes, their life cycle, reading them, and the settings of a user.

Each class is one group of use cases over the ports; a request was translated by convert.py before it gets here.
"""
