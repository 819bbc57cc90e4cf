"""The 1,000 completions that every package scores, and what their totals are compared through.

Three quarters follow the format; the rest are malformed in the ways of real models. A group of ten shares a question.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

from polymode import rewards_of

K = 3
N = 1000
GROUP = 10
METHOD = "multi-rlcr"
DIGITS = 5
"""Trainers keep rewards as 32-bit floats. Totals here are multiples of 1/1200, none of which lies near a half digit."""
NAMES = ("flu", "common cold", "measles", "mumps", "asthma", "gout", "anemia", "croup", "shingles", "sepsis")


def rows() -> list[tuple[str, list[list[str]]]]:
    """Text and references of each completion; the same on every machine."""
    rng = random.Random(15)
    made = []
    for i in range(N):
        if i % GROUP == 0:
            references = [[name, f"the {name} virus"] for name in rng.sample(NAMES, rng.randint(0, 4))]
        answers = [rng.choice([name, name.upper(), f"the {name} virus"]) for name in rng.choices(NAMES, k=K)]
        slots = "".join(
            f"<answer{n}>{answer}</answer{n}><confidence{n}>{rng.randint(0, 20) / 20}</confidence{n}>"
            for n, answer in enumerate(answers, 1)
        )
        text = f"<think>It may be {rng.choice(NAMES)}.</think>{slots}"
        if i % 4 == 3:
            text = rng.choice(
                [text[:-5], f"{text} So be it.", text.replace("confidence", "certainty"), "I cannot say."]
            )
        made.append((text, references))
    return made


def groups() -> list[int]:
    """The question of each completion."""
    return [i // GROUP for i in range(N)]


def expected() -> list[float]:
    """Their totals by polymode itself."""
    texts, references = zip(*rows(), strict=True)
    return [score.total or 0.0 for score in rewards_of(list(texts), list(references), k=K, method=METHOD)]


def check_totals(name: str, totals: Sequence[float]) -> None:
    """Compare totals with polymode's, and leave them for the comparison of all packages."""
    assert [round(total, DIGITS) for total in totals] == [round(total, DIGITS) for total in expected()]
    if folder := os.environ.get("POLYMODE_TOTALS"):
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps([round(total, DIGITS) for total in totals]), encoding="utf-8")
