"""What is there: the snapshot, its indexes, and the Kubernetes semantics needed to read it."""
