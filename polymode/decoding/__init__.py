"""Tokens from a causal LM whose completions share the keys and values of their question's prompt (layer L3)."""
