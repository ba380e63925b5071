"""The node context: the notes themselves, their order in time and their life cycle (live, deleted, purged).

Owns: the items USER#u / NODE#n and USER#u / SETTINGS#node, and in Redis the keys b2:n:{u}:<node id> (a cache).
Publishes: node.created, node.updated, node.deleted, node.restored, node.purged, each in the transaction of its write.
Hears: nothing; it calls graph and similarity only to hide or show a note at once, and works without them.
Promises: an answered write is durable and its event certain; one transaction a write; nothing of one user is seen by
another; a read that passes a consistency token sees the write that gave it; without Redis everything still works.
Read on: model, ports, usecases, servicer, app; docs/adr/0010 to 0013 say why.
"""
