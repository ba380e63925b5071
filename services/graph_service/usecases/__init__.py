"""What the graph context does. adjacency.py is the heart: how a list gets from DynamoDB into memory and never lies."""
