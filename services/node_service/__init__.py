"""The node context: the notes, their order in time and their life cycle (live, deleted, purged).

Owns: in the table the items of notes and of this service's user settings, in Redis the keys b2:n:{user_id}:node_id.
Publishes: node.created, node.updated, node.deleted, node.restored, node.purged, each in the transaction of its write.
Consumes: nothing. It calls graph and similarity only to set a note's visibility at once, and works without them.
Guarantees: an answered write is durable and its event will be published; each write is one transaction; no user sees
anything of another; a read with a consistency token sees the write that returned it; everything works without Redis.
Read on: model, ports, usecases, servicer, app; docs/adr/0010 to 0014 have the reasons.
"""
