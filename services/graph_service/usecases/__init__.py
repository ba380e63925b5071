"""What the graph context does: one module for each RPC, and the mechanisms that they share."""
