"""Training: warm start and reinforcement learning; the only place that imports trl (layer L4)."""
