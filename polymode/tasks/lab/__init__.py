"""The lab: small generated tasks whose true answer distribution is known exactly (layer L3)."""
