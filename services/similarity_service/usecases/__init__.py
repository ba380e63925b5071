"""What the similarity context does: keep notes indexed, find and explain, search, link, and start again when asked."""
