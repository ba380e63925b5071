"""Implementations of the ports with DynamoDB, Redis and the node service."""
