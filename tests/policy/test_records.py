"""Records see what `decide` sees: the arrays of a calibration and the decisions of a policy agree set by set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError, VerifierFault
from polymode.policy import Policy, Recalibration, decide
from polymode.policy.records import JudgedSet, Records, View, recalibrated
from polymode.types import Answer, AnswerSet, DecisionKind, ParseStatus, Span

NAN = float("nan")


def test_repeats_go_and_the_rest_is_ranked() -> None:
    judged = [
        JudgedSet(True, ["a", "b", "A"], [0.2, 0.6, 0.9], [True, False, True]),
        JudgedSet(False, ["a"], [0.9], [True]),
        JudgedSet(True, ["a", "b", "c"], [0.5, 0.5, 0.5], [False, False, True]),
    ]
    records = Records.of(judged, k=3)
    np.testing.assert_array_equal(records.q, [[0.6, 0.2, NAN], [NAN, NAN, NAN], [0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(records.right, [[False, True, False], [False] * 3, [False, False, True]])
    q, y = records.answers()
    assert (q.tolist(), y.tolist()) == ([0.6, 0.2, 0.5, 0.5, 0.5], [0, 1, 0, 0, 1])
    assert (len(records), records.k, len(records.at(np.array([2, 0])))) == (3, 3, 2)


def test_answers_that_cannot_be_compared_make_a_record_unusable() -> None:
    def same(a: str, b: str) -> bool:
        raise VerifierFault("no reply")

    records = Records.of([JudgedSet(True, ["a", "b"], [0.5, 0.5], [True, True])], k=2, same=same)
    assert np.isnan(records.q).all() and not records.right.any()


def test_the_view_by_hand() -> None:
    records = Records(np.array([[0.5, 0.3, 0.1], [0.9, NAN, NAN]]), np.array([[False, True, False], [False] * 3]))
    view = View.of(records, Policy())
    np.testing.assert_allclose(view.mass, [[0.5, 0.8, 0.9], [0.9, 0.9, 0.9]])
    assert (view.top.tolist(), view.first_right.tolist()) == ([0.5, 0.9], [1, 3])
    shown, size = view.offered(0.85, offer_all=False)
    assert (shown.tolist(), size.tolist()) == ([True, True], [3, 1])
    shown, size = view.offered(0.95, offer_all=False)
    assert shown.tolist() == [False, False]
    shown, size = view.offered(0.95, offer_all=True)
    assert (shown.tolist(), size.tolist()) == ([True, True], [3, 3])
    with pytest.raises(ConfigError, match="k = 3 of the records is not the policy's 2"):
        View.of(records, Policy(k=2))


def test_a_map_is_applied_to_numbers_only() -> None:
    map_ = Recalibration("isotonic", 9, points=((0.0, 0.25), (1.0, 0.75)))
    np.testing.assert_allclose(recalibrated(np.array([[0.0, NAN], [0.5, 1.0]]), map_), [[0.25, NAN], [0.5, 0.75]])


K = 3
judged_sets = st.builds(
    lambda clean, rows: JudgedSet(clean, *(list(column) for column in zip(*rows, strict=True))),
    st.integers(0, 9).map(bool),
    st.lists(
        st.tuples(st.sampled_from(["a", "A", "b", "c"]), st.integers(0, 10).map(lambda x: x / 10), st.booleans()),
        min_size=K,
        max_size=K,
    ),
)
maps = st.none() | st.builds(Recalibration, st.just("platt"), st.just(1), st.floats(0.1, 3), st.floats(-2, 2))


@given(
    judged=st.lists(judged_sets, min_size=1, max_size=8),
    recalibration=maps,
    answer_at=st.none() | st.integers(0, 10).map(lambda x: x / 10),
    offer_at=st.integers(0, 25).map(lambda x: x / 10),
    abstain_below=st.sampled_from([0.0, 0.3]),
    max_effective=st.none() | st.sampled_from([1.0, 2.0, 2.5]),
    offer_all=st.booleans(),
)
def test_arrays_and_decisions_agree(
    judged: list[JudgedSet],
    recalibration: Recalibration | None,
    answer_at: float | None,
    offer_at: float,
    abstain_below: float,
    max_effective: float | None,
    offer_all: bool,
) -> None:
    policy = Policy(
        abstain_below=abstain_below,
        max_effective=max_effective,
        answer_at=answer_at,
        offer_at=offer_at,
        offer_all=offer_all,
        recalibration=recalibration,
        k=K,
    )
    view = View.of(Records.of(judged, K), policy)
    answered = view.answered(answer_at)
    offered, size = view.offered(offer_at, offer_all=offer_all)
    for row, item in enumerate(judged):
        status = ParseStatus.CLEAN if item.is_clean else ParseStatus.PARTIAL
        answers = [Answer(text, Span(0, 1), q) for text, q in zip(item.texts, item.confidences, strict=True)]
        decision = decide(AnswerSet(status, tuple(answers), K, True), policy)
        right = {i for i, is_right in enumerate(item.right) if is_right}
        shown = {next(i for i, text in enumerate(item.texts) if text == a.text) for a in decision.answers}
        assert answered[row] == (decision.kind is DecisionKind.ANSWER)
        if answered[row]:
            assert view.top_is_right[row] == bool(shown & right)
        else:
            assert offered[row] == (decision.kind is DecisionKind.OFFER_SET)
        if offered[row] and not answered[row]:
            assert min(size[row], len(decision.ranked)) == len(decision.answers)
            assert (view.first_right[row] < size[row]) == bool(shown & right)
