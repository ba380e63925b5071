"""The similarity context: what notes are about, which are alike, and which should be linked.

Owns: a record of each note's terms (TERMS#), postings of its most telling keywords (KW#, KeywordIndex), the users'
settings about similarity; an index of each active user's notes in memory, which is always rebuilt from the records.
Publishes: nothing; it asks the graph service to make and remove automatic links.
Hears: node.created, node.updated, node.restored (index and link), node.deleted (hide), node.purged (forget).
Promises: an answer shows every change that was logged before it was asked for; a deleted note leaves every answer at
once; a user never meets another's notes; the same notes give the same links whatever their order and whoever links
them.
"""
