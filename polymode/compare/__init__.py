"""Any evaluated runs side by side: columns, paired differences, their page (layer L5)."""
