"""Cleanup: the end of a note and of a user. Owns deletion sagas, archives and erasures; repairs inconsistencies.

Publishes cleanup.completed. Consumes node.deleted and node.restored. Promises that a deleted note is archived before it
is purged, that every step survives a crash at any point, that a restore wins or loses as a whole, and that nothing of
an erased user is left but the receipt.

Items of other contexts that it touches (protos/table.py names the owner of each item):

    adapters/sagas.py            reads the node service's deletion queue (DELETED#)
    adapters/reconcile_store.py  reads notes, edges, hidden markers, index records, keywords and outboxes; writes the
                                 missing side of an edge, removes keywords of missing notes and published outbox items
    adapters/user_partition.py   removes all items of an erased user, whichever context owns them

Everything else goes through the APIs of the other services.
"""
