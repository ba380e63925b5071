"""The similarity context: what notes are about, which are alike, and which should be linked.

Owns: a record of each note's terms (TERMS#), postings of its most telling keywords (KW#, KeywordIndex), the users'
settings about similarity; an index of each active user's notes in memory, which is always rebuilt from the records.
Publishes: nothing; it asks the graph service to make and remove automatic links.
Hears: node.created, node.updated, node.restored (index and link), node.deleted (hide), node.purged (remove).
Promises: an answer has every change that was in the change log when the request came; a deleted note is in no answer
from then on; no answer has notes of another user; the same notes get the same links, whatever their order and whichever
processes link them.
"""
