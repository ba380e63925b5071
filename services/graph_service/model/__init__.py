"""What the graph context talks about: edges, neighbours as seen from a note, consistency tokens. Pure and immutable."""
