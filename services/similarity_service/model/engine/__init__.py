"""The array structures of one user's notes in memory: no rule about scores or links is in here.

Read them in this order: arrays and strings (growing arrays, lists in one array, strings by number), vocabulary (the
terms), forward (note -> terms), titles (names of notes and where they occur), repeats (sentences that many notes have),
index (all of these for one user, and the only one that changes them), codec (a note as bytes), loading (many records
at once).
"""
