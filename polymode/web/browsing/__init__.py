"""Run folders for looking at: which there are, what each question was answered, where it stands (layer L4; no HTTP).

    folder of runs -> names -> metrics, index of questions -> one question: spans, verdicts, terms, truth

Files are taken as they are found: what cannot be read is told with file, line and fix, and nothing else stops working.
Large files are read once for their line offsets; a page then reads the few lines that it shows.
"""
