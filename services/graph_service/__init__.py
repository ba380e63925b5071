"""The graph context: the edges between notes, and all questions about them.

It owns edges (both directions of each in one transaction), visibility records, rejected automatic links, and the caches
of lists in memory and in Redis. It publishes edge.created and edge.deleted. It consumes node.created (a note exists),
node.updated (a title changed), node.deleted, node.restored and node.purged. It guarantees that DynamoDB is the source
of truth, that a cached list is never older than the last acknowledged write that its reader could know of
(docs/list-cache.md), and that the loss of Redis costs speed only.

Read on in this order: model, ports, usecases (fast_path, get_neighbors and list_lookup first), servicer, app.
"""
