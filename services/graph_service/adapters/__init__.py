"""The ports on real parts: DynamoDB, Redis, the node service."""
