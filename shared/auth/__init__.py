"""Who calls: verified tokens, preshared keys and TLS identities become principals. The gRPC part is shared/grpc/auth.py."""
