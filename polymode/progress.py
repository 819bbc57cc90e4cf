"""The progress bar of long work (layer L0): shown once it has taken two seconds, and gone when it is over.

Work that is over at once leaves no trace on the terminal, so that short commands print their result and nothing else.
Bars go to the standard error stream, never into a result.
"""

from __future__ import annotations

from functools import partial

from tqdm import tqdm

SHOW_AFTER = 2.0
"""Seconds of work before a bar is drawn."""

progress_bar = partial(tqdm, delay=SHOW_AFTER, leave=False)
"""`tqdm.tqdm` with what all bars share: ``progress_bar(items, desc="judging", unit=" completions")``."""
