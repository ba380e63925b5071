"""The ports on real parts: DynamoDB, S3, Redis, and the other three services."""
