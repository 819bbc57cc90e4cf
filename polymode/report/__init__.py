"""The report: figures, tables and a self-contained HTML page, made from run folders (layer L4)."""
