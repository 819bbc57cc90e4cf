"""Browsing run folders: which there are, what each question was answered, where it stands (layer L6; no HTTP).

    folder of runs -> names -> metrics, index of questions -> one question: segments, verdicts, terms, truth

`polymode.runs` reads every file. What cannot be read is named with file, line and fix, and nothing else stops working.
Large files are read once for their line offsets; a page then reads the few lines that it shows.
"""
