"""The ports of the node context on DynamoDB (which holds the notes), Redis (a cache) and the two peers."""
