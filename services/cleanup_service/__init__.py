"""Cleanup: the end of a note and of a user. Owns deletion sagas, archives, erasures and the repair of orphans.

Publishes cleanup.completed. Hears node.deleted and node.restored. Promises that a deleted note is archived before it is
purged, that every step survives a crash at any point, that a restore wins or loses as a whole, and that an erased user
leaves no trace.
"""
