"""Reads a completion into answers, confidences and where they stand (layer L1). Total: no text makes it raise.

Grammar, after the last ``</think>`` (or the whole text when there is no reasoning), because only what the model finally
says counts::

    interleaved  <answer1>text</answer1><confidence1>q</confidence1> ... K times, <analysis>..</analysis> or nothing
    blocked      <answer1>text</answer1> ... K times, <confidence1>q</confidence1> ... K times, with at most one
                 <analysis>..</analysis>, before or after the confidences

    first        <confidence1>q</confidence1><answer1>text</answer1> ... K times, <analysis>..</analysis> or nothing

    lines        1. text | q                                             ... K lines, with nothing else

Without confidences these are the answers alone (``1. text``). K = 1 writes ``<answer>`` and ``<confidence>`` without a
number. Directly behind any answer, and nowhere else, may stand what speaks for it: ``<why1>words of the
question</why1>``, in a line ``1. text | why: words of the question | q``. It may be empty, is never judged, and changes
neither spans nor status of the rest.

White space is allowed around every tag; any other text outside the tags is a deviation, because text that is neither
reasoning nor answer is where a model can hide a second opinion. Inside an answer everything is text except the tags of
the grammar themselves: ``a < b`` and ``<b>`` are fine, ``<answer2>`` is not. q is a plain decimal in [0, 1]: ``0.35``,
``.35``, ``0``, ``1``, ``1.0``; a sign, an exponent, a percent sign, a decimal comma, ``nan`` or ``1.2`` are deviations.
A part of a line holds no ``|`` and no line break, of any kind that some reader takes for one.

`layouts` reads each layout with one regular expression, which is fast; `tags` and `lines` state the grammar tag by tag
or line by line and name the first departure from it. They accept the same texts (a property test compares them), in
time linear in their length: a completion is written by a model that is rewarded for it, so it may be anything.
"""

from polymode.parsing.grammar import (
    MAX_ANSWER_CHARS,
    MAX_COMPLETION_CHARS,
    MAX_NUMBER_CHARS,
    confidence_of,
    final_part,
    fits_line,
    states_confidences,
)
from polymode.parsing.reading import parse_answers

__all__ = [
    "MAX_ANSWER_CHARS",
    "MAX_COMPLETION_CHARS",
    "MAX_NUMBER_CHARS",
    "confidence_of",
    "final_part",
    "fits_line",
    "parse_answers",
    "states_confidences",
]
