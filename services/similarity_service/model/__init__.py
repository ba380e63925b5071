"""The pure core: text analysis, the index of one user's notes, scores, and the rule that decides about links.

Nothing in here does input or output or knows a store. Read it in this order: analysis (text -> terms), note (what is
kept of a text), engine (the arrays in memory), query and score (how similar two notes are), links, keywords, search
and snippets; stored and user_settings are what the store holds beside the notes.
"""
