"""Programs as answers: right by their tests, new by their syntax tree or by what they do."""

import json
import threading
from collections.abc import Iterator
from typing import Literal

import pytest

from polymode.errors import ConfigError, RecordError, VerifierFault
from polymode.evaluation import evaluate
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.rewards import METHODS, score_set
from polymode.sandbox import Limits, ProgramTests, Sandbox, pool, reason_unavailable
from polymode.sandbox.worker import Report, Worker
from polymode.training.reward import make_reward_function
from polymode.types import Completion, Example, Reference, Verdict
from polymode.verifiers import QuestionVerifier, is_open, verifier_at
from polymode.verifiers.programs import DistinctCounts, ProgramVerifier, program_text

TESTS = ProgramTests(("assert f(2) == 4", "assert f(3) == 9"), entry="f", inputs=("f(-2)", "f('ab')"))
QUESTION = Example("q", "Square a number.", (Reference(TESTS.to_json()),))
POWER = "def f(n): return n ** 2"
TIMES = "def f(n): return n * n"
LOOP = "def f(n): return sum(n for _ in range(n))"  # right for what is asked; 0 for -2
WRONG = "def f(n): return n + 2"


@pytest.fixture(scope="module")
def verifier() -> Iterator[ProgramVerifier]:
    reason = reason_unavailable()
    if reason is not None:
        pytest.skip(f"no sandbox here: {reason}")
    with Sandbox(2, limits=Limits(cpu_seconds=1, wall_seconds=20)) as sandbox:
        yield ProgramVerifier(sandbox)


def completion(*programs: str) -> str:
    numbers = [""] if len(programs) == 1 else range(1, len(programs) + 1)
    return "<think>x</think>" + "".join(
        f"<answer{i}>{program}</answer{i}>" for i, program in zip(numbers, programs, strict=True)
    )


def verdicts(
    verifier: ProgramVerifier, *programs: str, example: Example = QUESTION
) -> list[tuple[Verdict, int | None]]:
    found = judge(example, parse_answers(completion(*programs), len(programs), confidence=False), verifier)
    return list(zip(found.verdicts, found.hits, strict=True))


RIGHT_NEW, RIGHT_AGAIN = (Verdict.CORRECT, 1), (Verdict.CORRECT, 0)


def test_right_programs_are_without_number_and_repeats_get_no_credit(verifier: ProgramVerifier) -> None:
    assert isinstance(verifier, QuestionVerifier) and is_open(verifier_at(verifier, QUESTION))
    renamed = "def f(number):\n    '''The square.'''\n    return number ** 2  # as asked"
    found = verdicts(verifier, POWER, WRONG, renamed, TIMES)
    assert found == [RIGHT_NEW, (Verdict.WRONG, 0), RIGHT_AGAIN, RIGHT_NEW]


def test_by_behaviour_programs_that_do_the_same_are_repeats(verifier: ProgramVerifier) -> None:
    by_behaviour = ProgramVerifier(verifier.sandbox, distinct="behaviour")
    tests = ProgramTests(("assert f(2) in (4, 5)", "assert f(3) >= 9"), inputs=("f(-2)",))
    example = Example("q", "A number at least as large as the square.", (Reference(tests.to_json()),))
    larger = "def f(n): return n * n + n // 3"  # 4 and 10
    assert verdicts(by_behaviour, POWER, TIMES, larger, example=example) == [RIGHT_NEW, RIGHT_AGAIN, RIGHT_NEW]


@pytest.mark.parametrize("distinct", ["ast", "behaviour"])
def test_what_is_done_beyond_the_tests_is_no_new_answer(
    verifier: ProgramVerifier, distinct: Literal["ast", "behaviour"]
) -> None:
    # On f(2) and f(3) all of them do the same; f(-2) is a further input.
    others = (
        "def f(n): return n * n if n != -2 else 7",
        "def f(n): return n * n if n < 100 else n",
        "def f(n):\n    if not isinstance(n, int): return None\n    return n * n",
        "def f(n): return n * n + n // 10 ** 6",
        "calls = 0\ndef f(n):\n    global calls\n    calls += 1\n    return n * n",
        "calls = 0\ndef f(n):\n    global calls\n    calls += 1\n    return n * n if calls < 50 else calls",
        "def f(n, calls=[]):\n    calls.append(n)\n    return n * n",
        "def f(n, calls=[]):\n    calls.append(n)\n    return n * n if len(calls) < 50 else 7",
        "def f(n):\n    print(n, 'squared')\n    return n * n",
    )
    found = verdicts(ProgramVerifier(verifier.sandbox, distinct=distinct), TIMES, *others)
    assert found == [RIGHT_NEW] + [RIGHT_AGAIN] * len(others)


def test_both_counts_are_there_for_a_report(verifier: ProgramVerifier) -> None:
    answers = [POWER, TIMES, LOOP, WRONG, POWER + "\n", "def f(n) return"]
    assert verifier.count_distinct(QUESTION, answers) == DistinctCounts(right=4, by_ast=3, by_behaviour=2, unscored=0)
    plain = Example("q", "", (Reference(ProgramTests(TESTS.asserts).to_json()),))
    assert verifier.count_distinct(plain, answers).by_behaviour is None
    assert verifier.count_distinct(QUESTION, []) == DistinctCounts(0, 0, 0, 0)


def test_both_counts_stand_in_the_evaluation_of_sets_and_of_pools(verifier: ProgramVerifier) -> None:
    plain = Example("p", "Square it.", (Reference(ProgramTests(TESTS.asserts).to_json()),))
    sets = [
        Completion(QUESTION, completion(POWER, TIMES, LOOP), 3, False),
        Completion(QUESTION, completion(POWER, WRONG, POWER), 3, False, sample=1),
        Completion(QUESTION, "no answers", 3, False, sample=2),
        Completion(plain, completion(POWER, TIMES, TIMES), 3, False),
    ]
    metrics = evaluate(sets, verifier=verifier, n_boot=0).metrics
    # By syntax trees 3, 1, 0 of the first question and 2 of the second; by what they do 2, 1, 0 and unknown.
    assert (metrics["distinct_by_ast"].value, metrics["distinct_by_ast"].n) == ((4 / 3 + 2) / 2, 2)
    assert (metrics["distinct_by_behaviour"].value, metrics["distinct_by_behaviour"].n) == (1, 1)
    assert metrics["coverage"].value == metrics["distinct_by_ast"].value  # what this verifier takes credit for

    singles = [Completion(QUESTION, completion(p), 1, False, sample=i) for i, p in enumerate((POWER, TIMES, LOOP))]
    pooled = evaluate(singles, verifier=verifier, pooled=True, k=3, n_boot=0).metrics
    assert (pooled["distinct_by_ast"].value, pooled["distinct_by_behaviour"].value) == (3, 2)


def test_a_set_without_answers_to_unusable_tests_has_no_count(verifier: ProgramVerifier) -> None:
    broken = Completion(Example("b", "", (Reference("Paris"),)), "no answers", 3, False)
    metrics = evaluate([broken], verifier=verifier, n_boot=0).metrics
    assert (metrics["coverage"].value, metrics["distinct_by_ast"].n) == (0, 0)


def test_preparing_runs_everything_once(verifier: ProgramVerifier) -> None:
    values = ("n * n", "n ** 2", "sum([n] * n)", "(n + 1) * (n - 1) + 1", "len(range(n * n))")
    answers = [f"def f(n): return {value}" for value in values]
    prepared = verifier.prepare([(QUESTION, answers[:3]), (QUESTION, answers[2:])])
    equality = prepared.at(QUESTION)
    assert [equality.matches(answer, QUESTION.references[0]) for answer in answers] == [True] * 5
    assert equality.same(answers[0], answers[0]) and not equality.same(answers[0], answers[1])
    assert equality.same(answers[0], "def f(m): return m * m if m != 0 else 0")  # the tests ask for 2 and 3


def runs_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that run from now on, one entry for each time."""
    runs: list[str] = []
    do = Worker.do

    def counted(self: Worker, job: bytes) -> Report:
        order = json.loads(job)
        if order["kind"] == "run":
            runs.append(order["program"])
        return do(self, job)

    monkeypatch.setattr(Worker, "do", counted)
    return runs


def test_each_program_of_a_batch_runs_once_however_little_the_sandbox_remembers(
    verifier: ProgramVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_REMEMBERED", 40)
    runs = runs_of(monkeypatch)
    sets = [
        Completion(
            QUESTION, completion(*(f"def f(n): return n ** 2 + {i} * {j}" for j in range(4))), 4, False, sample=i
        )
        for i in range(1, 41)
    ]
    metrics = evaluate(sets, verifier=verifier, n_boot=0).metrics
    assert metrics["coverage"].value == metrics["distinct_by_ast"].value == 1  # the one that adds nothing, j = 0
    assert len(runs) == len(set(runs)) == 160


def test_what_was_not_prepared_runs_when_it_is_asked_about(
    verifier: ProgramVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = verifier.prepare([(QUESTION, [POWER])])
    runs = runs_of(monkeypatch)
    monkeypatch.setattr(pool, "MAX_REMEMBERED", 0)
    other = "def f(n): return n * n + 0 * 7"
    assert prepared.at(QUESTION).matches(POWER, QUESTION.references[0]) and runs == []
    assert prepared.at(QUESTION).matches(other, QUESTION.references[0]) and runs == [other]
    assert prepared.count_distinct(QUESTION, [POWER, other, other]).right == 3 and runs == [other, other]


@pytest.mark.parametrize(
    "program",
    [
        "def f(n) return n",
        "The answer is 4.",
        "def f(n): return '\udc80'",
        "\0",
        "(" * 3000,
        "while True: pass",
    ],
    ids=["syntax", "prose", "surrogate", "zero byte", "parentheses", "endless"],
)
def test_what_cannot_be_judged_as_a_program_is_wrong_and_equals_itself(program: str, verifier: ProgramVerifier) -> None:
    assert verdicts(verifier, program, "  " + program, POWER) == [(Verdict.WRONG, 0), (Verdict.WRONG, 0), RIGHT_NEW]
    equality = verifier.at(QUESTION)
    assert equality.same(program, program) and not equality.same(program, WRONG)


def test_a_program_of_ten_megabytes_is_wrong(verifier: ProgramVerifier) -> None:
    program = "x = 1\n" * (10 * 2**20 // 6) + POWER
    assert not verifier.prepare([(QUESTION, [program])]).at(QUESTION).matches(program, QUESTION.references[0])


@pytest.mark.parametrize(
    "text",
    [
        "```python\n" + POWER + "\n```",
        "```\n" + POWER + "\n```\n",
        "\n ```py\n" + POWER + "\n  ```  ",
        "~~~python\n" + POWER + "\n~~~",
        "````\n" + POWER + "\n````",
        "```python\n" + POWER,
    ],
)
def test_a_fence_around_a_program_is_taken_off(text: str, verifier: ProgramVerifier) -> None:
    assert program_text(text) == POWER
    assert verdicts(verifier, text) == [RIGHT_NEW]


PROSE = {
    "before": "Here is the function:\n```python\n" + POWER + "\n```",
    "after": "```python\n" + POWER + "\n```\nIt squares n.",
    "both, with inline code": "Use `n ** 2`:\n\n```\n" + POWER + "\n```\n\nThen ``f(2)`` is 4.",
    "in a list": "1. The program:\n   ~~~py\n   " + POWER + "\n   ~~~\n2. Done.",
    "without its end": "It is:\n```python\n" + POWER,
    "an attempt before": "First:\n```python\n" + WRONG + "\n```\nBetter:\n```python\n" + POWER + "\n```",
    "another function after": "```python\n" + POWER + "\n```\nTry:\n```python\ndef test(): return f(2)\n```",
    "a call after": "```python\n" + POWER + "\n```\nFor example:\n```python\nprint(f(2))\n```",
    "a shell after": "```python\n" + POWER + "\n```\nRun it:\n```bash\npython f.py\n```",
    "its output after": "```python\n" + POWER + "\n```\nwhich prints\n```\n4\n```",
    "another fence within": "````markdown\nno\n````\n````python\n" + POWER + "\n````",
}


@pytest.mark.parametrize("name", PROSE)
def test_the_fenced_block_of_an_answer_in_prose_is_the_program(name: str, verifier: ProgramVerifier) -> None:
    assert program_text(PROSE[name], "f") == POWER
    assert verdicts(verifier, PROSE[name]) == [RIGHT_NEW]


@pytest.mark.parametrize("around", ["{}", "```python\n{}\n```", "It is\n```\n{}\n```\nas asked."])
def test_a_fence_in_a_doc_string_is_part_of_the_program(around: str) -> None:
    program = 'def f(n):\n    """Square.\n\n    ```\n    f(2)\n    ```\n    """\n    return n ** 2'
    assert program_text(around.format(program), "f") == program


@pytest.mark.parametrize(("entry", "number"), [("f", 0), ("g", 1), ("h", 2), ("", 2), ("other", 3)])
def test_of_several_blocks_the_last_that_defines_the_function_counts(entry: str, number: int) -> None:
    blocks = ["def f(n):\n    return n", "async def g(n): pass", "h = lambda n: n", "print(1)"]
    text = "\n".join(f"Part\n```python\n{block}\n```" for block in blocks)
    assert program_text(text, entry) == blocks[number]


@pytest.mark.parametrize("text", [POWER, "x = '```'", "", "``` x", "print('''```a\n```''')"])
def test_a_program_without_a_fence_stays_as_it_is(text: str) -> None:
    assert program_text(text) == text


def test_a_fence_with_much_in_it_is_read_in_linear_time() -> None:
    assert len(program_text("```python\n" + "\n" * 500_000 + "x")) == 500_001
    assert program_text("`" * 500_000) == "`" * 500_000


@pytest.mark.parametrize(
    "text",
    [
        "```python\nPROGRAM  # don't use ''' here\n```\nIt is done.",
        "```python\nPROGRAM\nQUOTE = '\"\"\"'\n```\nIt's done.",
        "```python\nPROGRAM\n``` That is all.",
        '```python title="a.py"\nPROGRAM\n```\n```text\n4\n```',
        "```{python}\nPROGRAM\n```\n```text\n4\n```",
    ],
)
def test_a_fence_ends_where_a_person_sees_it_end(text: str) -> None:
    program = program_text(text.replace("PROGRAM", POWER))
    assert program.startswith(POWER) and "```" not in program


@pytest.mark.parametrize("piece", ["'\\", '"', "'''", "#", '"""\\'])
def test_hostile_quotes_are_read_in_linear_time(piece: str) -> None:
    assert program_text(f"```\n{piece * 100_000}") == piece * 100_000


@pytest.mark.parametrize(
    ("references", "said"),
    [
        (("Paris",), "tests: 'Paris' is not JSON"),
        (('{"asserts": ["assert f(2) == 4"], "imports": "import no_such_module"}',), "the imports of the tests fail"),
        (('{"asserts": ["f(2) == 4"]}',), "'f(2) == 4' cannot be taken apart: an expression asserts nothing"),
    ],
)
def test_tests_that_cannot_be_used_leave_answers_unscored(
    references: tuple[str, ...], said: str, verifier: ProgramVerifier
) -> None:
    example = Example("q", "", tuple(map(Reference, references)))
    prepared = verifier.prepare([(example, [POWER])])
    found = judge(example, parse_answers(completion(POWER, TIMES), 2, confidence=False), prepared)
    assert found.verdicts == (Verdict.UNSCORED, Verdict.UNSCORED)
    assert said in found.faults[0]
    assert score_set(found, METHODS["multi-rlvr"].reward()).total is None


def test_the_reason_of_each_wrong_program_is_in_the_judged_line(verifier: ProgramVerifier) -> None:
    texts = [POWER, WRONG, "def f(n): return 1 / 0", "import no_such_module", "while True: pass", "def f(n) return n"]
    [judged] = evaluate([Completion(QUESTION, completion(*texts), 6, False)], verifier=verifier, n_boot=0).judged
    assert judged.reasons is not None and judged.reasons[0] is None
    said = ("assert f(3) == 9: not with 5", "ZeroDivisionError", "ModuleNotFoundError", "not done after", "SyntaxError")
    assert all(text in str(reason) for text, reason in zip(said, judged.reasons[1:], strict=True))
    assert judged.to_row()["reasons"] == judged.reasons
    [right] = evaluate([Completion(QUESTION, completion(POWER), 1, False)], verifier=verifier, n_boot=0).judged
    assert right.reasons is None and "reasons" not in right.to_row()


def test_a_method_of_the_programs_own_leaves_its_answer_unscored_and_the_others_judged(
    verifier: ProgramVerifier,
) -> None:
    forged = "class A:\n    def __eq__(self, other): return True\ndef f(n): return A()"
    [judged] = evaluate([Completion(QUESTION, completion(forged, WRONG), 2, False)], verifier=verifier, n_boot=0).judged
    assert judged.verdicts == ("unscored", "wrong")
    assert "the test would let __eq__ of an object of class 'A' decide" in judged.faults[0]
    assert judged.reasons is not None and "not with 5" in str(judged.reasons[1])


def test_a_right_program_is_a_repeat_only_of_a_right_one(verifier: ProgramVerifier) -> None:
    tests = ProgramTests(("assert f([1, 2]) == 3",), entry="f")
    example = Example("q", "", (Reference(tests.to_json()),))
    wrong = "def f(x: List[int]) -> int:\n    return sum(x)"  # List is not imported
    right = f"from typing import List\n{wrong}"
    assert verdicts(verifier, wrong, right, example=example) == [(Verdict.WRONG, 0), RIGHT_NEW]
    assert verdicts(verifier, right, wrong, example=example) == [RIGHT_NEW, (Verdict.WRONG, 0)]


def test_packages_are_an_option_of_the_verifier() -> None:
    with pytest.raises(ConfigError, match="packages: 'no_such_package' is not installed"):
        ProgramVerifier(packages=("no_such_package",))


def test_a_question_has_one_reference(verifier: ProgramVerifier) -> None:
    for references in ((), (Reference("{}"), Reference("{}"))):
        with pytest.raises(VerifierFault, match="references; a program's question has one, its tests"):
            verifier.at(Example("q7", "", references)).key(POWER)
        with pytest.raises(RecordError, match="question 'q7'"):
            verifier.count_distinct(Example("q7", "", references), [POWER])


def test_the_reward_function_needs_nothing_but_the_references(verifier: ProgramVerifier) -> None:
    reward = make_reward_function(METHODS["multi-rlvr"], 3, verifier=verifier)
    texts = [completion(POWER, TIMES, WRONG), completion(POWER, POWER + " # again", LOOP), "no answers"]
    # Right and new: 2 of 3, then 2 of 3; one more for the format. Malformed: 0.
    assert reward(texts, [[{"text": TESTS.to_json()}]] * 3) == [3.0, 3.0, 0.0]


def test_a_step_is_judged_on_all_workers_at_once_and_on_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every run waits until three are under way, so one after the other would never end; twelve programs, four rounds.
    together, lock, busy = threading.Barrier(3, timeout=100), threading.Lock(), [0, 0]
    do = Worker.do

    def counted(self: Worker, job: bytes) -> Report:
        if json.loads(job)["kind"] != "run":
            return do(self, job)
        with lock:
            busy[0] += 1
            busy[1] = max(busy)
        together.wait()
        report = do(self, job)
        with lock:
            busy[0] -= 1
        return report

    texts = [completion(*(f"def f(n): return n ** 2 + {3 * i + j}" for j in range(3))) for i in range(4)]
    with Sandbox(3, unsafe_local=True, limits=Limits(cpu_seconds=1, wall_seconds=100)) as sandbox:
        reward = make_reward_function(METHODS["multi-rlvr"], 3, verifier=ProgramVerifier(sandbox))
        monkeypatch.setattr(Worker, "do", counted)
        # The first program of the first completion is right; one for the format of each.
        assert reward(texts, [[{"text": TESTS.to_json()}]] * 4) == [2.0, 1.0, 1.0, 1.0]
    assert busy == [0, 3]


def test_an_option_out_of_range() -> None:
    with pytest.raises(ConfigError, match="distinct = 'text' is not known: use 'ast' or 'behaviour'"):
        ProgramVerifier(distinct="text")  # type: ignore[arg-type]
