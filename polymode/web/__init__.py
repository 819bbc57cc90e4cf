"""Answer sets and decisions over HTTP, pages for people, and the queue of questions for review (layer L6, a leaf).

    question, k, risk -> prompt -> batch -> completion -> parse_answers -> decide -> JSON

Only the command line imports this package, and only for its own verbs, so it can be removed with them in one commit.
The modules need the extra `serve`.
"""
