"""The graph context: which notes are linked, and everything that people ask of those links.

Owns: edges (both directions of each in one transaction), the markers of hidden notes, rejected automatic links, and the
adjacency caches in memory and in Redis. Publishes: edge.created, edge.deleted. Hears: node.created (an end that
exists), node.updated (titles), node.deleted, node.restored, node.purged (hide, show, forget). Promises: DynamoDB is
the truth, a cached list is never older than the last acknowledged write that a reader could know of (docs/adr/0020),
and losing Redis loses speed, nothing else.

Read on in this order: model, ports, usecases (adjacency first), servicer, app.
"""
