"""Credit for each part of a completion: hand-worked numbers, exact gradients by enumeration, tokens and their parts."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from polymode.credit import SlotScores, group_advantages, term_advantages, token_parts
from polymode.errors import ConfigError, RecordError
from polymode.parsing import parse_answers

NAN = float("nan")


def scores(y, q=None, *, format_=1.0) -> SlotScores:
    """Slot scores of the paper's reward: coverage y, confidence -(q - y)^2 / K, format."""
    y = np.array(y, float)
    s = np.full(y.shape, NAN) if q is None else -((np.array(q, float) - y) ** 2) / y.shape[1]
    return SlotScores(np.nansum(y, 1) + np.nansum(s, 1) + format_, y, s, y)


def test_two_completions_without_confidences_by_hand() -> None:
    """One group. A finds both references, B only the second: R = 3 and 2, mean 2.5.

    Answer 1: C = (2, 1), centred (0.5, -0.5), nothing before it. Answer 2: C = (1, 1), centred 0; P = (1, 0), centred
    (0.5, -0.5), covariance 0, so rho = 0 and the advantage is 0.
    """
    found = term_advantages(scores([[1, 1], [0, 1]]), 2)
    np.testing.assert_allclose(found[:, :3], [[0.5, 0.5, 0.0], [-0.5, -0.5, 0.0]])
    np.testing.assert_allclose(found[:, 3:], 0.0)  # no confidences: only the rest, which is equal


def test_control_variate_by_hand() -> None:
    """Exclusive answers: who found it first cannot find it again. y = (1,0), (0,1), (0,0), (0,0).

    Answer 2: C = (0, 1, 0, 0) - 1/4, P = (1, 0, 0, 0) - 1/4; sum C P = -1/4 (3/4 x -1/4 twice, 1/16 twice),
    sum P^2 = 3/4, rho = 1/3. First: -1/4 + 1/3 x 3/4 = 0; second: 3/4 - 1/12 = 2/3; others -1/4 - 1/12 = -1/3.
    """
    found = term_advantages(scores([[1, 0], [0, 1], [0, 0], [0, 0]]), 4)
    np.testing.assert_allclose(found[:, 2], [0, 2 / 3, -1 / 3, -1 / 3], atol=1e-12)


def test_confidences_are_held_against_others_of_the_same_verdict() -> None:
    """K = 1, two groups of two. y = 1, 1, 0, 0 and q = .9, .5, .4, 0: s = -.01, -.25, -.16, 0.

    The one other of the same verdict is the baseline: -.01 + .25 = .24, -.24, -.16, .16.
    """
    found = term_advantages(scores([[1], [1], [0], [0]], [[0.9], [0.5], [0.4], [0.0]]), 2)
    np.testing.assert_allclose(found[:, 2], [0.24, -0.24, -0.16, 0.16])
    # Answer: C is equal within the groups, so only its own confidence score is left, centred in its group.
    np.testing.assert_allclose(found[:, 1], [0.12, -0.12, -0.08, 0.08])


def test_a_lonely_verdict_has_no_baseline_and_no_credit() -> None:
    found = term_advantages(scores([[1], [0], [0], [0]], [[0.9], [0.5], [0.5], [0.5]]), 4)
    np.testing.assert_allclose(found[:, 2], 0.0)


def test_malformed_completions_get_the_whole_score_everywhere_and_unscored_ones_nothing() -> None:
    """R = 2, 0 (malformed), unscored: mean 1 over the two scored ones."""
    blank = [NAN, NAN]
    given = SlotScores(
        np.array([2.0, 0.0, NAN]),
        np.array([[1.0, 0.0], blank, [1.0, NAN]]),
        np.full((3, 2), NAN),
        np.array([[1.0, 0.0], blank, [1.0, NAN]]),
    )
    found = term_advantages(given, 3)
    np.testing.assert_allclose(found[1], -1.0)
    np.testing.assert_allclose(found[2], 0.0)
    assert found[0, 0] == 1.0 and np.isfinite(found).all()


def test_factors_lengthen_the_credit_of_the_reasoning_and_of_confidences() -> None:
    """The example above with q: K = 1, R = .99 + 1, .75 + 1, -.16 + 1, 1: centred .12, -.12, -.08, .08."""
    given = scores([[1], [1], [0], [0]], [[0.9], [0.5], [0.4], [0.0]])
    found = term_advantages(given, 2, reasoning=0.5, confidence=3)
    np.testing.assert_allclose(found[:, 0], [0.06, -0.06, -0.04, 0.04])
    np.testing.assert_allclose(found[:, 1], [0.12, -0.12, -0.08, 0.08])
    np.testing.assert_allclose(found[:, 2], [0.72, -0.72, -0.48, 0.48])
    given.total_N[3], given.coverage_NK[3], given.confidence_NK[3] = 0.0, NAN, NAN  # malformed: R̄ = .42, no factor
    np.testing.assert_allclose(term_advantages(given, 2, reasoning=0.5, confidence=3)[3], -0.42)
    with pytest.raises(ConfigError, match="reasoning = 0 must be a positive number"):
        term_advantages(given, 2, reasoning=0)
    with pytest.raises(ConfigError, match="confidence = -1 must be a positive number"):
        term_advantages(given, 2, confidence=-1)


def test_a_step_whose_completions_are_all_malformed_is_zero() -> None:
    blank = np.full((4, 3), NAN)
    found = term_advantages(SlotScores(np.zeros(4), blank, blank, blank), 2)
    np.testing.assert_array_equal(found, 0.0)


def test_the_whole_is_the_published_advantage() -> None:
    rng = np.random.default_rng(0)
    given = scores(rng.random((32, 3)) < 0.4, rng.random((32, 3)))
    expected = group_advantages(given.total_N.reshape(4, 8)).ravel()
    np.testing.assert_allclose(term_advantages(given, 8)[:, 0], expected)
    scaled = term_advantages(given, 8, scale="batch")
    np.testing.assert_allclose(scaled * (given.total_N.std(ddof=1) + 1e-4), term_advantages(given, 8))
    by_group = term_advantages(given, 8, scale="group").reshape(-1, 8, scaled.shape[1])
    deviation = given.total_N.reshape(-1, 8).std(1, ddof=1)[:, None, None]
    np.testing.assert_allclose(by_group * (deviation + 1e-4), term_advantages(given, 8).reshape(by_group.shape))


@pytest.mark.parametrize(
    ("group", "scale", "error", "text"),
    [
        (3, "none", RecordError, "group = 3 does not divide"),
        (2, "rank", ConfigError, "scale = 'rank' is not known: use one of none, batch, group"),
    ],
)
def test_what_cannot_be_credited_is_refused(group, scale, error, text) -> None:
    with pytest.raises(error, match=text):
        term_advantages(scores([[1], [0], [0], [0]]), group, scale=scale)
    with pytest.raises(RecordError, match="shape"):
        term_advantages(SlotScores(np.zeros(2), np.zeros((2, 1)), np.zeros((2, 2)), np.zeros((2, 1))), 2)


class Tabular:
    """Policy z -> a1 -> q1 -> a2 -> q2 with a table of logits each; one label, drawn with the question.

    Answers are two of three names without a check for repeats; q is 0.2 or 0.8. All choices can be enumerated:
    2 x 3 x 2 x 3 x 2 = 72 completions, x 3 labels.
    """

    SIZES = ((2,), (2, 3), (2, 3, 2), (2, 3, 3), (2, 3, 3, 2))
    LABEL = np.array([0.5, 0.3, 0.2])

    def __init__(self, rng: np.random.Generator) -> None:
        self.p = [softmax(rng.normal(size=size)) for size in self.SIZES]

    def contexts(self, c):
        z, a1, q1, a2, q2 = c
        return ((), (z,), (z, a1), (z, a1), (z, a1, a2)), (z, a1, q1, a2, q2)

    def probability(self, c) -> float:
        contexts, chosen = self.contexts(c)
        return float(np.prod([p[(*at, x)] for p, at, x in zip(self.p, contexts, chosen, strict=True)]))

    def outcome(self, c, label) -> tuple[list[float], list[float]]:
        _, a1, q1, a2, q2 = c
        y = [float(a1 == label), float(a2 == label and a1 != label)]
        return y, [-((0.2 + 0.6 * q - v) ** 2) / 2 for q, v in zip((q1, q2), y, strict=True)]

    def every(self):
        return product(range(2), range(3), range(2), range(3), range(2))

    def gradient(self, table: int, value) -> np.ndarray:
        """d/d logits of E[value(completion, label)], by score functions, of one table."""
        out = np.zeros(self.SIZES[table])
        for c in self.every():
            for label, p_label in enumerate(self.LABEL):
                out += p_label * self.probability(c) * value(c, label) * self.score(table, c)
        return out

    def score(self, table: int, c) -> np.ndarray:
        contexts, chosen = self.contexts(c)
        out = np.zeros(self.SIZES[table])
        at = contexts[table]
        out[at] = -self.p[table][at]
        out[(*at, chosen[table])] += 1
        return out


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def sampled_gradients(policy: Tabular, n: int, group: int, batch: int, rng: np.random.Generator, credit) -> np.ndarray:
    """Gradient estimates of every batch, (batches, 5 tables flattened), with the advantages ``credit(given)`` gives."""
    every = list(policy.every())
    p = np.array([policy.probability(c) for c in every])
    table_scores = [np.array([policy.score(t, c).ravel() for c in every]) for t in range(5)]
    outcomes = [[policy.outcome(c, label) for label in range(3)] for c in every]
    y_CL = np.array([[o[0] for o in row] for row in outcomes])  # (completions, labels, K)
    s_CL = np.array([[o[1] for o in row] for row in outcomes])
    out = []
    for _ in range(n):
        drawn = rng.choice(len(every), p=p, size=batch)
        label = np.repeat(rng.choice(3, p=policy.LABEL, size=batch // group), group)
        y, s = y_CL[drawn, label], s_CL[drawn, label]
        advantages = credit(SlotScores(y.sum(1) + s.sum(1), y, s, y))
        estimates = [advantages[:, part] @ table[drawn] for part, table in zip(PARTS, table_scores, strict=True)]
        out.append(np.concatenate(estimates) / batch)
    return np.array(out)


PARTS = (0, 1, 3, 2, 4)  # z, a1, q1, a2, q2 in columns of term_advantages for K = 2


def test_gradients_are_those_of_what_each_part_is_said_to_cause() -> None:
    """The mean of many estimates against enumeration: the whole for z, C_i + s_i for answers, s_i for confidences."""
    rng = np.random.default_rng(1)
    policy, group, batch = Tabular(rng), 8, 512
    causes = (
        lambda y, s: sum(y) + sum(s),
        lambda y, s: y[0] + y[1] + s[0],
        lambda y, s: s[0],
        lambda y, s: y[1] + s[1],
        lambda y, s: s[1],
    )
    true = [
        policy.gradient(t, lambda c, label, f=cause: f(*policy.outcome(c, label))).ravel()
        for t, cause in enumerate(causes)
    ]
    # Centring by a mean that holds the completion itself shrinks all but the confidences' gradients by (G - 1) / G.
    expected = np.concatenate([g * (1 if t in (2, 4) else (group - 1) / group) for t, g in enumerate(true)])
    found = sampled_gradients(policy, 3000, group, batch, rng, lambda given: term_advantages(given, group))
    error = np.linalg.norm(found.mean(0) - expected) / np.linalg.norm(expected)
    assert error < 0.01


def test_variance_is_below_that_of_one_advantage_for_all_tokens() -> None:
    rng = np.random.default_rng(2)
    policy, group, batch = Tabular(rng), 8, 512

    def sequence(given: SlotScores) -> np.ndarray:
        return np.repeat(group_advantages(given.total_N.reshape(-1, group)).reshape(-1, 1), 5, 1)

    of_term = sampled_gradients(policy, 300, group, batch, rng, lambda given: term_advantages(given, group))
    of_sequence = sampled_gradients(policy, 300, group, batch, rng, sequence)
    ends = np.cumsum([np.prod(size) for size in Tabular.SIZES])
    ratios = [
        a.var(0).sum() / b.var(0).sum()
        for a, b in zip(np.split(of_term, ends[:-1], 1), np.split(of_sequence, ends[:-1], 1), strict=True)
    ]
    # The reasoning's advantage is the same (the two samples differ); answers gain a little, confidences much.
    assert 0.8 < ratios[0] < 1.25
    assert max(ratios[1], ratios[3]) < 0.95
    assert max(ratios[2], ratios[4]) < 0.5


TEXT = (
    "<think>a</think><answer1>x < y</answer1><confidence1>0.5</confidence1>"
    "<answer2> z</answer2><confidence2>1</confidence2>"
)


def test_tokens_of_one_character_each_belong_to_the_slot_around_them() -> None:
    answers = parse_answers(TEXT, 2, confidence=True)
    parts = token_parts(answers, TEXT, range(len(TEXT)), 2)
    for part, slot in enumerate(
        [
            "<think>a</think>",
            "<answer1>x < y</answer1>",
            "<answer2> z</answer2>",
            "<confidence1>0.5</confidence1>",
            "<confidence2>1</confidence2>",
        ]
    ):
        assert "".join(c for c, p in zip(TEXT, parts, strict=True) if p == part) == slot


@pytest.mark.parametrize("end", ["", "\n"])
def test_in_lines_a_confidence_reaches_from_its_bar_to_the_end_of_the_line(end: str) -> None:
    text = "<think>a\nb</think>\n1. x > y | 0.5\n2.  z| 1" + end
    parts = token_parts(parse_answers(text, 2, confidence=True), text, range(len(text)), 2)
    for part, slot in enumerate(["<think>a\nb</think>\n", "1. x > y ", "2.  z", "| 0.5\n", "| 1" + end]):
        assert "".join(c for c, p in zip(text, parts, strict=True) if p == part) == slot


def test_in_lines_without_confidences_a_line_is_its_answer() -> None:
    text = "1. x > y\n2. z\n"
    parts = token_parts(parse_answers(text, 2, confidence=False), text, range(len(text)), 2)
    assert parts.tolist() == [1] * len("1. x > y\n") + [2] * len("2. z\n")


def test_a_token_over_a_border_belongs_where_it_starts() -> None:
    answers = parse_answers(TEXT, 2, confidence=True)
    start = TEXT.index("y</answer1>")
    parts = token_parts(answers, TEXT, [0, start, start + len("y</answer1><conf")], 2)
    assert parts.tolist() == [0, 1, 3]


def test_what_could_not_be_read_is_all_of_the_whole() -> None:
    text = "no slots"
    assert token_parts(parse_answers(text, 2, confidence=True), text, [0, 3], 2).tolist() == [0, 0]
