"""The ports of the node context on real parts: DynamoDB (the truth), Redis (a cache), and the two peers."""
