"""Answer sets and decisions over HTTP, and the queue of what a person must look at (layer L4, a leaf).

    question, k, risk -> prompt -> batch -> completion -> parse_answers -> decide -> JSON

Only the command line imports this package, and only for its own verbs, so it can be removed with them in one commit.
What it shares with generation is the shape of the generator's method only. The modules need the extra `serve`.
"""
