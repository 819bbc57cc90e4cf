import json
from itertools import pairwise

from polymode import runs
from polymode.report.examples import pick_examples


def test_questions_are_evenly_spaced_and_repeatable(make_arm):
    multi, single = make_arm("m", "multi-rlcr"), make_arm("s", "single-rlvr", pooled=True, confidence=False)
    picked = pick_examples(multi.seeds[0], single.seeds[0], n=10, seed=3)
    assert [e.id for e in picked] == [e.id for e in pick_examples(multi.seeds[0], single.seeds[0], n=10, seed=3)]
    numbers = [int(e.id[1:]) for e in picked]
    assert {b - a for a, b in pairwise(numbers)} == {4}  # 40 questions, 10 picked


def test_fewer_questions_than_asked_for_gives_each_once(make_arm):
    arm = make_arm("m", "multi-rlcr", n_questions=3)
    assert [e.id for e in pick_examples(arm.seeds[0], arm.seeds[0], n=10)] == ["q0000", "q0001", "q0002"]


def test_no_common_question_gives_no_examples(make_arm):
    first, second = make_arm("m", "multi-rlcr", n_questions=2), make_arm("s", "single-rlvr", n_questions=2)
    path = second.seeds[0] / runs.JUDGED
    path.write_text(path.read_text(encoding="utf-8").replace('"q0', '"z0'), encoding="utf-8")
    assert pick_examples(first.seeds[0], second.seeds[0]) == []


def _folder(root, name, k, pooled, rows):
    folder = root / name
    runs.write_json(folder / runs.METRICS, {"view": {"k": k, "pooled": pooled}, "metrics": {}, "curves": {}})
    shared = {
        "id": "q", "question": "Why?", "distribution": {"Flu": 0.6, "cold": 0.3, "gout": 0.1, "none": 0.001},
        "references": [{"text": "flu", "aliases": ["influenza"]}, {"text": "cold", "aliases": []}],
    }  # fmt: skip
    runs.write_jsonl(folder / runs.JUDGED, ({"id": "q", "p_correct": None, "n_tokens": 7} | row for row in rows))
    runs.write_jsonl(
        folder / runs.COMPLETIONS,
        (
            shared | {"sample": row["sample"], "completion": f"<think> because {row['sample']} </think> x"}
            for row in rows
        ),
    )
    return folder


def _judged(sample, answers, verdicts, hits, matches, **other):
    return {
        "sample": sample, "status": "clean", "reason": "", "answers": answers, "confidences": [None] * len(answers),
        "verdicts": verdicts, "hits": hits, "matches": matches, "duplicates": [None] * len(answers), **other,
    }  # fmt: skip


def test_marks_truth_and_thoughts_of_a_set_and_of_pooled_samples(tmp_path):
    multi = _folder(tmp_path, "m", 3, False, [
        _judged(0, ["Influenza", "gout", "cough"], ["correct", "wrong", "unscored"], [1, 0, None], [0, None, None],
                confidences=[0.7, 0.2, None]),
        _judged(1, ["cold", "gout", "x"], ["correct", "wrong", "wrong"], [1, 0, 0], [1, None, None]),
    ])  # fmt: skip
    single = _folder(tmp_path, "s", 3, True, [
        _judged(1, ["influenza"], ["correct"], [1], [0]),  # written out of order: sample 0 comes first
        _judged(0, ["flu"], ["correct"], [1], [0]),
        _judged(2, [], [], [], [], status="malformed", reason="no answer"),
        _judged(3, ["cold"], ["correct"], [1], [1]),  # a fourth sample, beyond K = 3
    ])  # fmt: skip
    (example,) = pick_examples(multi, single, labels=("multi", "single"))
    first, second = example.sides
    assert [(a.text, a.mark, a.confidence) for a in first.answers] == [
        ("Influenza", "hit", 0.7), ("gout", "wrong", 0.2), ("cough", "unscored", None),
    ]  # fmt: skip
    # "Influenza" is an alias of the reference "flu", whose probability is listed as "Flu"
    assert [a.probability for a in first.answers] == [0.6, 0.1, 0]
    assert [(a.text, a.mark) for a in second.answers] == [("flu", "hit"), ("influenza", "repeat")]
    assert [a.probability for a in second.answers] == [0.6, None]
    assert (first.n_hits, second.n_hits, first.n_tokens, second.n_tokens) == (1, 1, 7, 21)
    assert first.thoughts == ("because 0",)
    assert second.thoughts[2] == "<think> because 2 </think> x"  # nothing could be read, so all of it is shown
    assert second.problems == ("malformed: no answer",)
    assert [(t.text, t.probability, t.is_reference, t.found) for t in example.truth] == [
        ("flu", 0.6, True, (True, True)),
        ("cold", 0.3, True, (False, False)),
        ("gout", 0.1, False, (False, False)),
    ]


def test_true_probability_of_being_correct_wins_over_the_distribution(tmp_path):
    folder = _folder(tmp_path, "m", 1, False, [_judged(0, ["flu"], ["correct"], [1], [0], p_correct=[0.9])])
    (example,) = pick_examples(folder, folder)
    assert example.sides[0].answers[0].probability == 0.9


def test_unknown_token_counts_stay_unknown_and_long_text_is_cut(tmp_path):
    row = _judged(0, ["a" * 900], ["wrong"], [0], [None], n_tokens=None)
    folder = _folder(tmp_path, "m", 1, False, [row])
    side = pick_examples(folder, folder)[0].sides[0]
    assert side.n_tokens is None
    assert side.answers[0].text.endswith("… (500 more characters)")
    assert json.dumps(side.answers[0].text)
