"""List questions: short questions with many right answers, all of them listed (layer L3)."""
