"""What the similarity context does. A module is named by the RPC that it answers, or by what an event asks for.

index_cache keeps the users' indexes in memory, record_changes writes the records, validation checks requests.
"""
