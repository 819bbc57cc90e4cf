"""Metrics as pure functions of arrays; see docs/metrics.md for the formula of each (layer L2)."""
