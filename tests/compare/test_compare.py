"""Runs side by side: differences worked by hand, the three files, and what is refused."""

import json
import math
from pathlib import Path

import pytest
from scipy.stats import t

from polymode import runs
from polymode.cli import main
from polymode.compare.columns import columns_of, find_runs
from polymode.compare.compare import compare_runs, pick_against
from polymode.compare.comparison import worked_examples
from polymode.errors import ConfigError, RunExistsError
from polymode.evaluation import evaluate
from polymode.report.equal_tokens import METRIC as EQUAL_TOKENS
from polymode.sandbox.bubblewrap import UNSAFE_LOCAL
from polymode.verifiers.scripted import ScriptedVerifier

from .conftest import write_run, write_training


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Coverage by question (q1, q2): single 1, 1 and then 1, 2; multi 2, 1 and then 3, 3."""
    root = tmp_path / "exp"
    samples = ({"q1": ["a", "a", "a"], "q2": ["d", "x", "x"]}, {"q1": ["a", "x", "x"], "q2": ["d", "e", "e"]})
    sets = ({"q1": ["a b x"], "q2": ["d x y"]}, {"q1": ["a b c"], "q2": ["d e f"]})
    for seed in (0, 1):
        single = write_training(root / f"single-rlvr/seed-{seed}", "single-rlvr", 3)
        write_run(single / "samples", samples[seed], pool=3)
        write_run(single / "samples-votes", samples[seed], pool=3, votes=True)
        multi = write_training(root / f"multi-rlvr-k3/seed-{seed}", "multi-rlvr", 3)
        write_run(multi / "set", sets[seed], k=3, tokens=15)
    return root


def test_a_difference_is_paired_by_question_and_averaged_over_like_seeds(experiment: Path, tmp_path: Path) -> None:
    comparison = compare_runs([experiment], tmp_path / "out", n_boot=200)
    assert comparison.against.name == "single-rlvr/samples"
    found = comparison.differences["multi-rlvr-k3/set"]["coverage"]
    # Seed 0: q1 2 - 1, q2 1 - 1: 1/2. Seed 1: q1 3 - 1, q2 3 - 2: 3/2. By Student's t two questions reach 12.7 x 1/2 to
    # both sides, so each seed's interval ends where a difference of three answers does, at -3 and 3: 3.5 and 2.5 from
    # 1/2, 4.5 and 1.5 from 3/2; 4 and 2 on average. s / sqrt(2) = 1/2 is from the seeds.
    low, high = (math.hypot(reach, t.ppf(0.975, 1) * 0.5) for reach in (4, 2))
    assert (found.cell.value, found.cell.low, found.cell.high) == pytest.approx((1.0, 1 - low, 1 + high))
    assert found.cell.by_seed == (0.5, 1.5) and found.cell.n == 2 and found.n_pairs == 2
    assert not found.excludes_zero and found.verdict("coverage") == ""


def test_each_run_is_compared_as_it_was_evaluated(experiment: Path, tmp_path: Path) -> None:
    comparison = compare_runs([experiment], tmp_path / "out", against="single-rlvr/samples-votes", n_boot=20)
    # Votes of q1 aaa, q2 dxx: (1 - 1)^2 for a, (1/3 - 1)^2 for d, (2/3 - 0)^2 for x, mean 8/27. Samples state nothing.
    votes = comparison.data[1].metrics["brier"].by_seed
    assert votes[0] == pytest.approx(8 / 27)
    assert comparison.differences["single-rlvr/samples"]["coverage"].cell.value == 0.0
    assert not comparison.differences["single-rlvr/samples"]["brier"].cell.is_defined
    assert comparison.notes == ()


def test_an_older_metrics_file_says_nothing_of_votes_and_its_folder_does(experiment: Path, tmp_path: Path) -> None:
    for path in experiment.glob("*/seed-*/*/metrics.json"):
        content = json.loads(path.read_text())
        del content["view"]["confidence_from"], content["view"]["verifier"]
        path.write_text(json.dumps(content))
    out = tmp_path / "out"
    comparison = compare_runs([experiment], out, against="single-rlvr/samples-votes", n_boot=20)
    same = compare_runs([experiment / "single-rlvr/seed-0"], out, against="single-rlvr/samples-votes", n_boot=20)
    assert comparison.notes == same.notes == ()
    confidences = [run.confidence for column in comparison.columns for run in column.runs]
    assert confidences.count("votes") == 2


def test_coverage_at_equal_tokens_is_that_of_as_many_samples_as_the_budget_pays(
    experiment: Path, tmp_path: Path
) -> None:
    comparison = compare_runs([experiment], tmp_path / "out", n_boot=50)
    assert comparison.budget is not None and comparison.budget.tokens == 15
    # A sample costs 10 tokens: U(1.5). Seed 0: a always, so U = 1 for q1; d once in three: U(1) = 1/3, U(2) = 2/3,
    # U(1.5) = 1/2 for q2. Seed 1: a once in three: 1/2; d once, e twice: U(1) = 1, U(2) = 2/3 + 1, U(1.5) = 4/3.
    single = (1 + 1 / 2) / 2, (1 / 2 + 4 / 3) / 2
    cell = comparison.data[0].cell(EQUAL_TOKENS)
    assert cell.by_seed == pytest.approx(single)
    # The multi arm sets the budget: one completion, 3/2 and 3 references.
    found = comparison.differences["multi-rlvr-k3/set"][EQUAL_TOKENS].cell
    assert found.by_seed == pytest.approx((3 / 2 - single[0], 3 - single[1]))
    assert found.low < found.value < found.high
    assert "for 15.0 tokens a question, the mean of multi-rlvr, one completion of 3" in comparison.text()


def test_three_files_are_written_and_may_be_written_again(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        compare_runs([experiment], out, n_boot=50, command="polymode compare exp --out out")
    assert sorted(path.name for path in out.iterdir()) == ["compare.json", "compare.md", "report.html"]
    content = json.loads((out / "compare.json").read_text())
    by_name = {column["name"]: column for column in content["columns"]}
    multi = by_name["multi-rlvr-k3/set"]
    assert content["against"] == "single-rlvr/samples" and by_name["single-rlvr/samples"]["differences"] == {}
    assert multi["differences"]["coverage"]["value"] == 1.0 and not multi["differences"]["coverage"]["excludes_zero"]
    assert [seed["seed"] for seed in multi["seeds"]] == [0, 1]
    text = (out / "compare.md").read_text()
    assert "## Differences to single-rlvr, 3 samples" in text and "| +1.00 [\N{MINUS SIGN}6.51, 7.66] |" in text
    page = (out / "report.html").read_text()
    assert 'id="differences"' in page and "[\N{MINUS SIGN}6.51, 7.66]" in page
    assert "polymode compare exp --out out" in page and "coverage_at_equal_tokens" in page


def test_several_k_have_a_table_and_a_figure(experiment: Path, tmp_path: Path) -> None:
    write_run(
        write_training(experiment / "multi-rlvr-k2/seed-0", "multi-rlvr", 2) / "set",
        {"q1": ["a b"], "q2": ["d e"]}, k=2,
    )  # fmt: skip
    out = tmp_path / "out"
    comparison = compare_runs([experiment], out, n_boot=20)
    text = (out / "compare.md").read_text()
    assert "## multi-rlvr by K" in text and "\n| 2 | 2.00 " in text
    assert comparison.differences["multi-rlvr-k2/set"]["coverage"].n_pairs == 1  # only seed 0 has a like
    assert 'id="figure-k"' in (out / "report.html").read_text()


def test_runs_without_a_like_seed_are_paired_all_with_all(experiment: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", {"q1": ["a x y"], "q2": ["x y z"], "q9": ["a b c"]}, k=3)
    comparison = compare_runs([experiment / "multi-rlvr-k3", other], tmp_path / "out", n_boot=20)
    found = comparison.differences["other"]["coverage"]
    # On the shared questions 1/2; multi has 3/2 and 3.
    assert found.n_pairs == 2 and found.cell.by_seed == (-1.0, -2.5) and found.cell.n == 2


def test_what_was_not_evaluated_is_noted(experiment: Path, tmp_path: Path) -> None:
    write_run(experiment / "multi-rlvr-k3/seed-2/set", {"q1": ["a b c"]}, k=3)
    (experiment / "multi-rlvr-k3/seed-2/set" / runs.METRICS).unlink()
    comparison = compare_runs([experiment], tmp_path / "out", n_boot=0)
    assert comparison.notes == (f"left out, not evaluated: {experiment / 'multi-rlvr-k3/seed-2/set'}",)
    assert comparison.notes[0] in comparison.text()


def test_another_verifier_judges_everything_and_decides_the_table_too(experiment: Path, tmp_path: Path) -> None:
    comparison = compare_runs([experiment], tmp_path / "out", n_boot=0, verifier=ScriptedVerifier({"y": "e"}))
    # y stands for e now, so that multi finds 2 instead of 1 in q2 of seed 0: (1 + 1) / 2 there, 3/2 for seed 1.
    assert comparison.differences["multi-rlvr-k3/set"]["coverage"].cell.value == 1.25
    assert comparison.data[-1].cell("coverage").by_seed == (2.0, 3.0)
    page = (tmp_path / "out" / runs.REPORT).read_text()
    assert ">2.50<" in page and ">2.25<" not in page  # the page's table is that of the same verdicts


def test_a_run_is_compared_by_the_rules_that_it_was_judged_by(tmp_path: Path) -> None:
    answers = {"q1": ["a x"], "q2": ["d x"]}
    one, two = (write_run(tmp_path / name, answers, k=2) for name in ("one", "two"))
    # For the second x is b, and e: two references found in each question instead of one.
    verifier = ScriptedVerifier({"x": frozenset({"b", "e"})})
    evaluate(runs.read_completions(two, verifier=verifier), verifier=verifier, n_boot=0).write(two)
    comparison = compare_runs([one, two], tmp_path / "out", n_boot=0)
    assert [data.cell("coverage").value for data in comparison.data] == [1, 2]
    assert comparison.differences["two"]["coverage"].cell.value == 1


def test_programs_are_compared_by_what_they_do_when_they_were_judged_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UNSAFE_LOCAL, "1")
    tests = '{"asserts": ["assert f(3) > 8"], "inputs": ["f(-2)"]}'
    square, power, ten = ("def f(n): return n * n", "def f(n): return n ** 2", "def f(n): return 10")
    for name, answers in (("a", (square, power)), ("b", (power, ten))):
        text = "".join(f"<answer{i}>{answer}</answer{i}>" for i, answer in enumerate(answers, 1))
        row = {"id": "q", "question": "Q?", "completion": text, "references": [tests], "k": 2}
        runs.write_jsonl(tmp_path / name / runs.COMPLETIONS, [row])
        args = ["--verifier", "programs", "--verifier-options", "distinct=behaviour", "--n-boot", "0"]
        assert main(["evaluate", str(tmp_path / name), *args]) == 0
    comparison = compare_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "out", n_boot=0)
    # By what they do a has one program and b two; by syntax trees both would have two.
    assert [data.cell("coverage").value for data in comparison.data] == [1, 2]
    assert comparison.differences["b"]["coverage"].cell.value == 1


def test_without_the_texts_numbers_are_compared_and_examples_left_out(tmp_path: Path) -> None:
    root = tmp_path / "exp"
    single = write_training(root / "single-rlcr/seed-0", "single-rlcr", 3)
    write_run(single / "samples", {"q1": ["a", "b", "b"]}, pool=3)
    multi = write_training(root / "multi-rlcr-k3/seed-0", "multi-rlcr", 3)
    (write_run(multi / "set", {"q1": ["a b c"]}, k=3) / runs.COMPLETIONS).unlink()
    comparison = compare_runs([root], tmp_path / "out", n_boot=0)
    assert comparison.differences["multi-rlcr-k3/set"]["coverage"].cell.value == 1
    [note] = comparison.notes
    assert note.startswith("without worked examples: ") and "is missing, so the texts" in note


def test_worked_examples_are_those_of_the_strongest_single_answer_arm(tmp_path: Path) -> None:
    root = tmp_path / "exp"
    multi = write_training(root / "multi-rlcr-k3/seed-0", "multi-rlcr", 3)
    write_run(multi / "set", {"q1": ["a b c"]}, k=3)
    single = write_training(root / "single-rlvr/seed-0", "single-rlvr", 3)
    write_run(single / "samples", {"q1": ["a", "a", "x"]}, pool=3)
    asked = write_run(single / "set", {"q1": ["a b x"]}, k=3)  # two references, where samples find one
    write_run(single / "set-of-2", {"q1": ["a b"]}, k=2)
    columns = columns_of(find_runs(root))
    [example] = worked_examples(columns)
    label = next(column.arm.label for column in columns if column.arm.seeds == (asked,))
    assert example.labels == ("multi-rlcr", label)
    assert [side.n_hits for side in example.sides] == [3, 2]


def test_an_evaluation_written_elsewhere_is_compared(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"q1": ["a x"]}, k=2)
    evaluation = evaluate(runs.read_completions(run), n_boot=0)
    elsewhere = tmp_path / "other" / "place"
    evaluation.write(elsewhere, completions=run)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["judged.jsonl", "metrics.json"]
    comparison = compare_runs([run, elsewhere], tmp_path / "out", n_boot=0, verifier=ScriptedVerifier({"x": "b"}))
    assert [data.cell("coverage").value for data in comparison.data] == [2, 2]
    assert runs.completions_of(elsewhere).samefile(run / runs.COMPLETIONS)


def test_what_cannot_be_compared_is_refused(experiment: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", {"q7": ["a"]})
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="other and single-rlvr/samples share no question"):
        compare_runs([experiment, other], out, n_boot=0)
    with pytest.raises(ConfigError, match="holds one column, other; name another run"):
        compare_runs([other, other], out)
    names = "single-rlvr/samples, single-rlvr/samples-votes, multi-rlvr-k3/set"
    with pytest.raises(ConfigError, match=f"--against 'best' is no column: use one of {names}"):
        compare_runs([experiment], out, against="best")
    assert not out.exists()
    (experiment / "report.html").touch()
    for taken in (experiment, other):
        with pytest.raises(RunExistsError, match="choose another --out"):
            compare_runs([experiment], taken)


def test_a_column_goes_by_name_label_or_arm(experiment: Path) -> None:
    columns = columns_of(find_runs(experiment))
    for name in (None, "single-rlvr", "single-rlvr/samples", "single-rlvr, 3 samples"):
        assert pick_against(columns, name) is columns[0]
    assert pick_against(columns[1:], None) is columns[1]  # votes of samples are samples too
    assert pick_against(columns, "multi-rlvr-k3") is columns[2]
