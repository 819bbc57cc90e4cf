"""Answer sets and decisions over HTTP, and the queue of what a person must look at (layer L4, a leaf).

    question, k, risk -> prompt -> batch -> completion -> parse_answers -> decide -> JSON

Nothing else imports this package: removing it with `polymode/cli/serve.py` breaks no other test. What it shares with
generation is the shape of the generator's method only. The modules need the extra `serve`.
"""
