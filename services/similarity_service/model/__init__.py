"""The pure core: text analysis, the index of one user's notes, scoring, and the rule that decides about links.

Nothing in here does input or output or knows a store. Read it in this order: analysis (text -> terms), record (what is
kept of a note), index (postings of all notes of a user), similarity (scores between notes), search (BM25), links.
"""
