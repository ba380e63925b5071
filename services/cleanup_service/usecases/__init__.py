"""The use cases: a module for each RPC and background task of the service.

RPCs         queue_deletion, retry_deletion, get_deletion, list_deletions, erase_user (with get_erasure), export_user,
             reconcile_user; validation checks their requests
events       node_events
background   poll_deletions finds due sagas, workers limits how many run at once, run_deletion runs one saga,
             delete_orphans is a part of its step DETACH
"""
