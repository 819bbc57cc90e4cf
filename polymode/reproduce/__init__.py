"""`polymode reproduce`: whole experiments, from warm start to report (layer L5)."""
