"""The ports on DynamoDB, Redis and the stubs of the other services."""
