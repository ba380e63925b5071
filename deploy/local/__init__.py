"""The launcher: the whole of Brain2 on one machine, on real servers that install from the package registry.

`python -m deploy.local up` starts dynoxide (DynamoDB), ministack (EventBridge, SQS, S3, CloudFormation) and Valkey on
loopback, applies deploy/aws/brain2.yaml, and starts the four services as four processes. Read stack.py first.
"""
