"""The lab's programs: the grammar against Python itself, the posterior by hand and by counting, and the sandbox."""

import ast
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.evaluation import evaluate
from polymode.evaluation.equality import Equality
from polymode.evaluation.judged import CompletionJudge
from polymode.parsing import parse_answers
from polymode.prompts import CONFIDENCE_TEXTS, build_prompt
from polymode.sandbox import Outcome, ProgramTests, reason_unavailable
from polymode.sandbox.inside.normal import key
from polymode.tasks import Demonstrates, open_task
from polymode.tasks.lab.program_grammar import INPUTS, MORE_INPUTS, SHARES, Function, Grammar
from polymode.tasks.lab.programs import SHOWN, SHOWN_SHARES, PosteriorVerifier, Programs, hidden_tests, read_values
from polymode.types import Completion, Example, Reference


def p_correct(example: Example, text: str) -> float:
    assert example.p_correct is not None
    return example.p_correct.get(text, 0.0)


def best_coverage(example: Example, k: int) -> float:
    assert example.p_correct is not None
    return sum(sorted(example.p_correct.values(), reverse=True)[:k])


CALLS = [f"f({x})" for x in INPUTS]


def ran(program: str, inputs: Sequence[int] = INPUTS) -> tuple[int | str, ...]:
    """Values of a program of the grammar, by running it here; the name of the exception where there is none."""
    names: dict[str, object] = {}
    exec(program, names)

    def value(x: int) -> int | str:
        try:
            return names["f"](x)  # type: ignore[operator]
        except (IndexError, RecursionError, ValueError) as exc:
            return type(exc).__name__

    return tuple(map(value, inputs))


@pytest.fixture(scope="module")
def questions() -> Sequence[Example]:
    return Programs().examples("test", 400)


@pytest.fixture(scope="module")
def verifier() -> Iterator[PosteriorVerifier]:
    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")
    verifier = Programs(workers=1).verifier()
    yield verifier
    verifier.sandbox.close()


# --- The grammar ------------------------------------------------------------------------------------------------------


def test_every_way_to_write_a_function_has_its_values_and_a_normal_form_of_its_own() -> None:
    grammar = Grammar()
    values = [function.values for function in grammar.functions]
    assert len(set(values)) == len(values) == 162
    texts = list(grammar.number_of)
    assert len(texts) == sum(len(function.expressions) for function in grammar.functions)
    for text in texts:
        assert ran(text) == values[grammar.number_of[text]], text
    # Different ideas, with what the tests decide and without.
    assert len({key(text, ["f"], CALLS) for text in texts}) == len({key(text, ["f"]) for text in texts}) == len(texts)
    counts = Counter(len(function.expressions) for function in grammar.functions)
    assert counts == {6: 6, 7: 75, 8: 57, 9: 24}  # at least five, as many as a completion may answer


def test_each_kind_has_its_share_and_its_functions_are_equally_likely() -> None:
    grammar = Grammar()
    kinds = np.array([function.kind for function in grammar.functions])
    assert math.fsum(SHARES.values()) == pytest.approx(1) == grammar.prior.sum()
    for kind, share in SHARES.items():
        p = grammar.prior[kinds == kind]
        assert p.sum() == pytest.approx(share) and np.ptp(p) == pytest.approx(0)


def test_some_right_programs_do_something_else_on_further_inputs() -> None:
    behaviours: dict[str, set[int]] = {}
    for function in Grammar().functions:
        done = {ran(f"f = lambda x: {e}", MORE_INPUTS) for e in function.expressions}
        behaviours.setdefault(function.kind, set()).add(len(done))
    # |x - c| has no recursion, loop or table. The larger of two has a recursion, which does not end below 0, the
    # smaller also range(x), which is empty there; a quotient too. Below 0 a remainder has its recursion x, and its
    # largest multiple is missing; its table ends. A line has all of these.
    assert behaviours == {
        **{"distance": {1}, "maximum": {2}, "minimum": {3}, "quotient": {3}, "square": {4}, "remainder": {4}},
        "linear": {4, 5, 6},
    }


# --- The posterior ----------------------------------------------------------------------------------------------------


def test_the_posterior_by_hand() -> None:
    def tiny(*values: int) -> Function:
        return Function("linear", values + (0,) * (len(INPUTS) - len(values)), ("x",))

    # Priors 1/2, 1/3, 1/6 on values (1, 2), (1, 3), (0, 2).
    grammar = Grammar([tiny(1, 2), tiny(1, 3), tiny(0, 2)], [3, 2, 1])
    assert grammar.posterior({}) == pytest.approx([1 / 2, 1 / 3, 1 / 6])
    # f(0) = 1: the first two, 3 to 2.  f(1) = 2: the first and the third, 3 to 1.  Both: the first.
    assert grammar.posterior({0: 1}) == pytest.approx([3 / 5, 2 / 5, 0])
    assert grammar.posterior({1: 2}) == pytest.approx([3 / 4, 0, 1 / 4])
    assert grammar.posterior({0: 1, 1: 2}) == pytest.approx([1, 0, 0])
    assert grammar.posterior({0: 9}).tolist() == [0, 0, 0]


def test_a_question_by_hand() -> None:
    # f(7) = 9; f(9) = 11 is x + 2 (prior .4/51) or max(x, c) + 2 for c = 2..7 (.1/24 each), and nothing else:
    # |x - c| + b would need b - c = 2, min(x, c) + b would not rise, and remainders and quotients stay below 9.
    p = dict(zip(Grammar().functions, Grammar().posterior({7: 9, 9: 11}), strict=True))
    found = {function.expressions[0]: value for function, value in p.items() if value}
    total = 0.4 / 51 + 6 * 0.1 / 24
    largest = {f"max(x, {c}) + 2": (0.1 / 24) / total for c in range(2, 8)}
    assert found == pytest.approx({"x + 2": (0.4 / 51) / total, **largest})


def test_probabilities_are_those_of_trying_every_program(questions: Sequence[Example]) -> None:
    grammar = Grammar()
    values = {text: ran(text) for text in grammar.number_of}
    kinds = Counter(f.kind for f in grammar.functions)
    weights = {ran(f"f = lambda x: {f.expressions[0]}"): SHARES[f.kind] / kinds[f.kind] for f in grammar.functions}
    for example in questions[:60]:
        shown = [part[2:].split(") = ") for part in example.question.split("\n")[0].split("; ")]
        fits = {v: w for v, w in weights.items() if all(v[int(x)] == int(y) for x, y in shown)}
        total = math.fsum(fits.values())
        expected = {text: fits[v] / total for text, v in values.items() if v in fits}
        assert example.p_correct == pytest.approx(expected)


def test_programs_are_right_as_often_as_they_are_said_to_be() -> None:
    # Over fresh questions, of all programs with probability near p a share p passes the tests.
    task, pairs = Programs(), []
    for example in task.examples("train", 6000, seed=3):
        assert example.p_correct is not None
        right = ran(str(example.meta["drawn"]))
        # One program for each function that fits: its ways to be written are right together.
        by_function = {task.grammar.number_of[text]: p for text, p in example.p_correct.items()}
        pairs += [(p, task.grammar.functions[i].values == right) for i, p in by_function.items() if p < 1]
    p_N, y_N = np.array(pairs, dtype=float).T
    bins = np.digitize(p_N, np.quantile(p_N, np.linspace(0, 1, 9))[1:-1])
    for b in np.unique(bins):
        p, y = p_N[bins == b], y_N[bins == b]
        assert abs(y.mean() - p.mean()) <= 4 * math.sqrt((p * (1 - p)).sum()) / len(p)
    assert len(np.unique(bins)) == 8


# --- The questions ----------------------------------------------------------------------------------------------------


def test_invariants(questions: Sequence[Example]) -> None:
    n_shown = Counter(example.meta["shown"] for example in questions)
    for n, share in zip(SHOWN, SHOWN_SHARES, strict=True):
        assert abs(n_shown[n] / len(questions) - share) < 0.1
    for example in questions:
        shown, drawn = read_values(example), str(example.meta["drawn"])
        assert list(shown) == sorted(shown) and len(shown) == example.meta["shown"]
        assert [ran(drawn)[x] for x in shown] == list(shown.values())
        assert example.p_correct is not None and not example.exclusive and example.distribution is None
        assert list(example.p_correct.values()) == sorted(example.p_correct.values(), reverse=True)
        assert p_correct(example, drawn) > 0 and best_coverage(example, 3) == 3 * max(example.p_correct.values())
        tests = ProgramTests.from_json(example.references[0].text)
        assert tests.asserts == tuple(f"assert f({x}) == {y}" for x, y in zip(INPUTS, ran(drawn), strict=True))
        assert set(tests.inputs) == {f"f({x})" for x in MORE_INPUTS}
    is_open = [example.meta["fits"] != 1 for example in questions]
    assert 0.25 < np.mean(is_open) < 0.5  # a guess that fits may be wrong, but most questions can be answered


def test_splits_share_no_question_whatever_the_seed() -> None:
    task = Programs()
    found = {
        split: {e.question for seed in (0, 1, 7) for e in task.examples(split, 400, seed=seed)}
        for split in ("train", "validation", "test")
    }
    assert all(len(questions) > 700 for questions in found.values())
    assert not found["train"] & found["test"]
    assert not found["train"] & found["validation"]
    assert not found["validation"] & found["test"]


def test_the_same_arguments_give_the_same_examples_and_a_smaller_n_their_beginning() -> None:
    first = Programs().examples("validation", 50, seed=3)
    assert Programs().examples("validation", 50, seed=3) == first
    assert Programs().examples("validation", 20, seed=3) == first[:20]
    assert Programs().examples("validation", 20, seed=4) != first[:20]
    assert len({example.id for example in first}) == 50


# --- Demonstrations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_a_demonstration_is_clean_and_its_programs_differ(k: int, confidence: bool) -> None:
    task, rng = Programs(), np.random.default_rng(0)
    assert isinstance(task, Demonstrates)
    for example in task.examples("train", 60):
        text = task.demonstrate(example, k, confidence=confidence, rng=rng)
        answers = parse_answers(text, k, confidence=confidence)
        assert answers.is_clean, (answers.reason, text)
        programs = [answer.text for answer in answers.answers]
        assert len({key(program, ["f"]) for program in programs}) == k
        assert all(isinstance(ast.parse(program).body[0], ast.Assign) for program in programs)
        assert all(program in task.grammar.number_of for program in programs)
        if confidence:
            stated = [a.confidence_span.slice(text) for a in answers.answers if a.confidence_span]
            assert len(stated) == k and set(stated) <= set(CONFIDENCE_TEXTS)


def test_demonstrations_are_mostly_right_and_too_sure() -> None:
    task, rng = Programs(), np.random.default_rng(2)
    stated, p, possible = [], [], []
    for example in task.examples("train", 1500):
        text = task.demonstrate(example, 3, confidence=True, rng=rng)
        for answer in parse_answers(text, 3, confidence=True).answers:
            stated.append(answer.confidence)
            p.append(p_correct(example, answer.text))
        possible.append(best_coverage(example, 3) / 3)
    assert 0.01 < np.mean(np.array(p) == 0) < 0.06  # slips
    assert 0.5 < np.mean(p) < np.mean(possible) - 0.03
    between = (np.array(p) > 0.1) & (np.array(p) < 0.9)
    assert np.mean(np.array(stated, dtype=float)[between]) > np.mean(np.array(p)[between]) + 0.02


def test_the_reasoning_takes_the_steps_and_names_functions_that_fit() -> None:
    task, rng = Programs(), np.random.default_rng(1)
    for example in task.examples("train", 200):
        shown = list(read_values(example).items())
        thought = task.demonstrate(example, 3, confidence=True, rng=rng).split(" </think>")[0]
        *steps, last = thought.removeprefix("<think> ").split(" ; ")
        assert len(steps) == len(shown) - 1
        x, y = shown[0]
        for step, there in zip(steps, shown[1:], strict=True):
            dx, dy = step.split(" : ")
            x, y = x + int(dx), y + int(dy)
            assert (x, y) == there
        named = [f"f = lambda x: {expression}" for expression in last.removeprefix("so ").split(" or ")]
        assert example.p_correct is not None and named[0] == next(iter(example.p_correct))
        assert len(named) == min(2, int(str(example.meta["fits"])))
        assert all(p_correct(example, program) > 0 for program in named)


def test_every_word_is_in_the_vocabulary_and_texts_are_short() -> None:
    pytest.importorskip("torch")
    from polymode.training.lab_model import UNKNOWN, build_tokenizer

    task, rng = Programs(), np.random.default_rng(5)
    tokenizer = build_tokenizer(task.vocabulary())
    questions = task.examples("train", 600)
    prompts = [
        build_prompt(example.question, 1 + i % 5, confidence=i % 2 == 0, style=task.prompt_style)
        for i, example in enumerate(questions)
    ]
    demonstrations = [task.demonstrate(example, 3, confidence=True, rng=rng) for example in questions]
    more = [task.demonstrate(example, 5, confidence=False, rng=rng) for example in questions[:100]]
    texts = [*demonstrations, *prompts, *more, *task.grammar.number_of]
    ids: list[list[int]] = tokenizer(texts)["input_ids"]  # type: ignore[assignment]
    unknown = tokenizer.convert_tokens_to_ids(UNKNOWN)
    assert not any(unknown in one for one in ids)
    assert tokenizer.batch_decode(ids) == texts
    lengths = [len(one) + 1 for one in ids[: len(demonstrations)]]
    assert np.mean(lengths) < 80 and max(lengths) <= 104  # the recipe lets a model write 128
    assert len(tokenizer) < 400


# --- In the sandbox ---------------------------------------------------------------------------------------------------


def test_programs_pass_exactly_the_tests_of_their_function(verifier: PosteriorVerifier) -> None:
    grammar, rng = verifier.grammar, np.random.default_rng(0)
    texts = [str(text) for text in rng.choice(list(grammar.number_of), size=60, replace=False)]
    own = [(text, hidden_tests(grammar.functions[grammar.number_of[text]])) for text in texts]
    other = [(text, hidden_tests(grammar.functions[(grammar.number_of[text] + 1) % 162])) for text in texts]
    results = verifier.sandbox.run([*own, *other])
    assert [result.outcome for result in results] == [Outcome.PASS] * 60 + [Outcome.FAIL] * 60
    assert [result.key for result in results] == [key(text, ["f"], CALLS) for text in [*texts, *texts]]


def test_a_set_is_judged_and_its_chances_are_known(verifier: PosteriorVerifier) -> None:
    example = next(
        e for e in Programs().examples("test", 5000) if e.meta["kind"] == "maximum" and int(str(e.meta["fits"])) > 2
    )
    right = str(example.meta["drawn"])
    expression = right.removeprefix("f = lambda x: ")
    p = p_correct(example, right)
    texts = (
        right,
        re.sub(r"\bx\b", "y", right),  # a name changed: the same
        f"f = lambda x: list(range(20))[{expression}]",  # right, and not in the grammar
        f"f = lambda x: 7 - 7 + {expression} if x < 99 else 0",  # right, but nothing new on 0..9
        f"f = lambda x: {expression} + 1",  # cannot fit what is shown
        "f = lambda x: max(x",
    )
    completion = "".join(
        f"<answer{i}>{text}</answer{i}><confidence{i}>0.5</confidence{i}>" for i, text in enumerate(texts, 1)
    )
    [judged] = CompletionJudge(verifier, None).judged([Completion(example, completion, 6, True)])
    assert judged.hits == (1, 0, 1, 0, 0, 0) and judged.duplicates == (None, 0, None, 0, None, None)
    assert judged.p_correct == pytest.approx((p, 0, p, 0, 0, 0))
    assert Equality(example, verifier).best_coverage(3) == best_coverage(example, 3)
    counts = verifier.count_distinct(example, texts)
    assert (counts.right, counts.by_ast, counts.by_behaviour, counts.unscored) == (4, 2, 2, 0)


def test_the_chance_of_a_strange_program_is_that_of_all_functions_it_equals(verifier: PosteriorVerifier) -> None:
    example = Example("q", "f(7) = 9; f(9) = 11\nWrite f as one line of Python", (Reference('{"asserts": []}'),))
    chance = verifier.at(example).p_correct
    p = Grammar().posterior({7: 9, 9: 11})
    for text in (
        "f = lambda x: x + 2",
        "f = lambda x: 2 + (x)",
        "def f(x): return x - -2",
        "```\nf = lambda x: x + 2\n```",
    ):
        assert chance(text) == pytest.approx(p.max())
    assert chance("f = lambda x: x + 2 if x != 0 else 0") == 0  # fits what is shown, but is no function of the grammar
    assert chance("f = lambda x: 1 / 0") == chance("") == 0
    stranger = Example("q7", "Name a noble gas.", (Reference("neon"),))
    with pytest.raises(ConfigError, match=r"'q7' does not come from programs"):
        verifier.at(stranger).p_correct("f = lambda x: x")


def test_demonstrations_are_evaluated_with_their_truth(verifier: PosteriorVerifier) -> None:
    task, rng = Programs(), np.random.default_rng(0)
    completions = [
        Completion(example, task.demonstrate(example, 3, confidence=True, rng=rng), 3, True)
        for example in task.examples("test", 30)
    ]
    metrics = evaluate(completions, verifier=verifier, n_boot=20).metrics
    p_N = [p_correct(c.example, a.text) for c in completions for a in parse_answers(c.text, 3, confidence=True).answers]
    floor = np.mean([p * (1 - p) for p in p_N])
    assert metrics["brier_floor"].value == pytest.approx(floor)
    assert metrics["coverage"].value == pytest.approx(3 * np.mean(p_N), abs=0.5)


# --- Mistakes ---------------------------------------------------------------------------------------------------------


def test_wrong_arguments_are_named() -> None:
    task = open_task("programs")
    assert isinstance(task, Programs)
    with pytest.raises(ConfigError, match=r"n = None: programs is endless, say how many examples to draw"):
        task.examples("test")
    with pytest.raises(ConfigError, match=r"split = 'dev' is not known: use one of train, validation, test"):
        task.examples("dev", 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"distinct = 'text' is not known: use one of ast, behaviour"):
        open_task("programs", distinct="text")
    with pytest.raises(ConfigError, match=r"data = 'here': task 'programs' makes its own questions; leave data out"):
        open_task("programs", data="here")
    stranger = Example("q7", "Name a noble gas.", (Reference("neon"),))
    with pytest.raises(ConfigError, match=r"'q7' does not come from programs: it shows no values of f"):
        task.demonstrate(stranger, 1, confidence=False, rng=np.random.default_rng(0))
    assert task.examples("test", 0) == []
