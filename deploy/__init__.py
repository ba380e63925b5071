"""How Brain2 runs: here (local/), in containers (docker/), on Kubernetes (k8s/) and on AWS (aws/)."""
