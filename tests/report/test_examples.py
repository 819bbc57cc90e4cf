import json
from itertools import pairwise

from polymode import runs
from polymode.report.arms import Arm
from polymode.report.example_programs import describe_tests, read_tests
from polymode.report.examples import pick_examples
from polymode.report.page import write_report
from polymode.sandbox import Case, ProgramTests


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


def test_within_a_set_judged_jsonl_says_what_is_a_repeat(tmp_path):
    judged = _judged(
        0,
        ["flu", "Flu!", "influenza", "gout", "GOUT"],
        ["correct", "correct", "correct", "wrong", "wrong"],
        [1, 0, 0, 0, 0],
        [0, 0, 0, None, None],
        duplicates=[None, 0, None, None, None],  # a verifier of its own may well call gout and GOUT two answers
    )
    folder = _folder(tmp_path, "m", 5, False, [judged])
    assert [a.mark for a in pick_examples(folder, folder)[0].sides[0].answers] == [
        "hit", "repeat", "repeat", "wrong", "wrong",
    ]  # fmt: skip


SQUARE, RENAMED, POWER = "def f(n):\n    return n * n", "def f(m):\n    return m * m", "def f(n):\n    return n ** 2"
TESTS = {"asserts": [f"assert f({n}) == {n * n}" for n in range(5)], "entry": "f", "inputs": ["f(-2)"]}


def _programs(root, name, k, pooled, rows, **question):
    folder = root / name
    runs.write_json(folder / runs.METRICS, {"view": {"k": k, "pooled": pooled}, "metrics": {}, "curves": {}})
    shared = {"id": "q", "question": "Square n.", "references": [{"text": json.dumps(TESTS), "aliases": []}]}
    runs.write_jsonl(folder / runs.JUDGED, ({"id": "q", "p_correct": None, "n_tokens": 7} | row for row in rows))
    runs.write_jsonl(
        folder / runs.COMPLETIONS, (shared | question | {"sample": row["sample"], "completion": "x"} for row in rows)
    )
    return folder


def test_every_right_program_is_a_hit_unless_it_repeats_one(tmp_path):
    multi = _programs(tmp_path, "m", 4, False, [
        _judged(0, [SQUARE, RENAMED, f"```python\n{POWER}\n```", "def f(n): return 9"],
                ["correct", "correct", "correct", "wrong"], [1, 0, 1, 0], [0, 0, 0, None],
                duplicates=[None, 0, None, None]),
    ])  # fmt: skip
    single = _programs(tmp_path, "s", 3, True, [
        _judged(i, [text], ["correct"], [1], [0]) for i, text in enumerate((SQUARE, POWER, SQUARE))
    ])  # fmt: skip
    (example,) = pick_examples(multi, single)
    first, second = example.sides
    assert example.is_code
    assert [a.mark for a in first.answers] == ["hit", "repeat", "hit", "wrong"] and first.n_hits == 2
    assert first.answers[2].text == POWER  # lines are kept, the fence is not
    assert [a.mark for a in second.answers] == ["hit", "hit", "repeat"]
    classes = _programs(tmp_path, "c", 3, True, [
        _judged(i, [text], ["correct"], [1], [0], classes=[number])
        for i, (text, number) in enumerate([(SQUARE, 0), (RENAMED, 0), (POWER, 1)])
    ])  # fmt: skip
    (other,) = pick_examples(multi, classes)  # equal although their texts differ
    assert [a.mark for a in other.sides[1].answers] == ["hit", "repeat", "hit"]
    assert [(t.text, t.is_reference, t.found) for t in example.truth] == [
        (
            "# a right program passes 5 tests\nassert f(0) == 0\nassert f(1) == 1\nassert f(2) == 4\n# and 2 more",
            True,
            (True, True),
        ),
    ]


def test_likely_programs_stand_below_the_tests_one_for_each_probability(tmp_path):
    p_correct = {"f = lambda x: x": 0.25, "f = lambda x: x * x": 0.75, "f = lambda x: x ** 2": 0.75, "f = abs": 0.001}
    row = _judged(0, ["f = abs"], ["wrong"], [0], [None], p_correct=[0.001])
    folder = _programs(tmp_path, "m", 1, False, [row], p_correct=p_correct)
    (example,) = pick_examples(folder, folder)
    assert example.is_posterior
    assert [(t.text, t.probability) for t in example.truth[1:]] == [
        ("f = lambda x: x * x  # and 1 more as likely", 0.75),
        ("f = lambda x: x", 0.25),
    ]
    assert not example.truth[0].found[0]


def test_tests_of_cases_only_are_counted():
    one = ProgramTests(cases=(Case("f(2)", "4"),))
    assert describe_tests(one) == "# a right program passes 1 test"
    assert read_tests([{"text": one.to_json()}]) == one
    for references in ([], [{"text": "42"}], [{"text": "{}"}], [{"text": "flu"}], [{"text": one.to_json()}] * 2):
        assert read_tests(references) is None


def test_the_page_keeps_the_lines_of_programs_and_shows_no_json(tmp_path):
    row = _judged(0, [f"<b>\n{SQUARE}"], ["wrong"], [0], [None])
    folder = _programs(tmp_path, "m", 1, False, [row])
    html = write_report(
        tmp_path / "r.html", title="t", intro=[], arms=[Arm("m", "multi-rlvr", (folder,))],
        examples=pick_examples(folder, folder),
    ).read_text(encoding="utf-8")  # fmt: skip
    assert f'<bdi class="code">&lt;b&gt;\n{SQUARE}</bdi>' in html
    assert '<bdi class="code"># a right program passes 5 tests\nassert f(0) == 0' in html
    assert ".code{white-space:pre-wrap" in html and "asserts" not in html


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
