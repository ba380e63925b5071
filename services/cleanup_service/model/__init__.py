"""The model: the saga of a deletion, the erasure of a user, the findings of a reconciliation. Pure code."""
