"""Who calls: verified tokens, preshared keys and TLS identities become principals (shared/grpc/auth.py uses them)."""
