"""Equality of expressions: what is the same, what must not become the same, and children that hang, die or lie."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import ConfigError, MissingExtraError, VerifierFault
from polymode.judging import judge
from polymode.types import Answer, AnswerSet, Example, ParseStatus, Reference, Span, Verdict
from polymode.verifiers import QuestionVerifier, children
from polymode.verifiers import symbolic as symbolic_module
from polymode.verifiers.children import ChildPool
from polymode.verifiers.mathematics import MAX_CHARS, as_latex
from polymode.verifiers.symbolic import SymbolicVerifier

pytest.importorskip("math_verify", reason="the extra `math` is not installed")
CORRECT, WRONG, UNSCORED = Verdict
ENDLESS = "9^{9^{9^{9}}}"  # arithmetic that never returns to the interpreter


@pytest.fixture(scope="module")
def symbolic() -> Iterator[SymbolicVerifier]:
    verifier = SymbolicVerifier(seconds=20, workers=1)  # generous: the machine may be busy
    yield verifier
    verifier.close()


def processes(pool: ChildPool) -> list[subprocess.Popen[bytes]]:
    return [child.process for child in pool._children if child.process is not None]


def answer_set(*texts: str) -> AnswerSet:
    return AnswerSet(ParseStatus.CLEAN, tuple(Answer(t, Span(0, len(t))) for t in texts), len(texts), False)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1/2", "0.5"),
        ("10", "10.0"),
        ("-6/4", r"-\frac{3}{2}"),
        ("+07", "7"),
        (r"\frac{1}{2}", "$0.5$"),
        ("3 1/2", "3.5"),
        ("3½", "7/2"),
        ("50%", "0.5"),
        (r"50\%", "1/2"),
        ("1e-3", "0.001"),
        ("2**3", "8"),
        ("1,000", "1000"),
        (r"1\,000", "1 000"),
        ("$5", r"\$5.00"),
        ("√2", r"\sqrt{2}"),
        ("sqrt(2)", r"$\sqrt2$"),
        ("2π", "2pi"),
        ("sin(x)", r"$\sin x$"),
        ("x²-1", "(x-1)(x+1)"),
        ("x = 5", "$5$."),
        (r"$\boxed{\frac{1}{2}}$", "0.5"),
        ("(1,2)", "1<x<2"),
        (r"\{1,2\}", "2, 1"),
        ("0.333333", "1/3"),
        ("5 km", "5km"),
        ("5!", "120"),
        ("The Flu", "flu."),
        ("hepatitis A", "Hepatitis a"),
        ("x^", "X ^"),
        ("(A)", "a"),
        ("a - b", "-b + a"),
    ],
)
def test_the_same_either_way_round(a: str, b: str, symbolic: SymbolicVerifier) -> None:
    assert symbolic.same(a, b) and symbolic.same(b, a)
    assert symbolic.matches(a, Reference("something else", (b,)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1/2", "12"),
        ("1/0", "10"),
        ("1//2", "12"),
        ("-x", "x"),
        ("x-y", "xy"),
        ("x-y", "y-x"),
        (r"-\sqrt{2}", r"\sqrt{2}"),
        ("50%", "50"),
        ("1 2", "3"),  # numbers side by side are no sum
        ("1e-3", "e-3"),
        ("act", "cat"),  # words are no products of letters
        ("on", "no"),
        ("type 2 diabetes", "2"),
        ("2 apples", "2"),
        ("5 km", "5 m"),
        ("5 km", "5"),
        ("2+2=4", "4"),  # nor is a chain of equations its last number
        ("0=1=2", "2"),
        ("1", "1, 2"),
        ("(1,2)", "[1,2]"),
        ("x_1", "x_2"),
        ("1/3", "0.3333"),
        ("1/3", "333333/1000000"),
        ("3/0", "4/0"),
        ("100000000000000000001", "100000000000000000000"),
    ],
)
def test_not_the_same_either_way_round(a: str, b: str, symbolic: SymbolicVerifier) -> None:
    assert not symbolic.same(a, b) and not symbolic.same(b, a)


def test_roots_of_either_sign_are_two_references(symbolic: SymbolicVerifier) -> None:
    example = Example("q", "x^2 = 2?", (Reference(r"$\sqrt{2}$"), Reference(r"$-\sqrt{2}$")))
    found = judge(example, answer_set("-√2", "-2^{1/2}", "x = sqrt(2)", "2"), symbolic)
    assert found.hits == (1, 0, 1, 0)
    assert found.duplicates == (None, 0, None, None)


@settings(derandomize=True)
@given(st.text())
def test_any_text_is_mathematics_or_not(text: str) -> None:
    latex = as_latex(text)
    assert latex is None or ("$" not in latex and latex == latex.strip() != "")


@pytest.mark.parametrize(
    "text",
    [
        "1" * (MAX_CHARS + 1),
        "(" * 500 + "1",
        "",
        " ",
        "$$",
        "flu",
        "no",
        "co-op",
        "()",
        "1 2",
        "x+",
        "2 + 2 apples",
    ],
)
def test_what_is_no_mathematics(text: str) -> None:
    assert as_latex(text) is None


@pytest.mark.parametrize(
    "unit", ["$", "\\(", "√(", "\\boxed{", "1 ", "sqrt(", "1 000", "\\text{", "(", "1e", "\\[", "x", "x-", "- "]
)
def test_recognising_takes_no_time_on_hostile_text(unit: str) -> None:
    began = time.perf_counter()
    as_latex.__wrapped__(unit * (MAX_CHARS // len(unit)))
    as_latex.__wrapped__(unit * 100_000)
    assert time.perf_counter() - began < 1


# --- faults ----------------------------------------------------------------------------------------------------------


# Each for its own reason: powers and factorials are refused from their bounds, the product runs into the deadline.
PATHOLOGICAL = [
    "8^8^8^8",
    ENDLESS,
    "((9!)!)!",
    r"2^{10^{12}}",
    r"\binom{200000000}{100000000}",
    r"\prod_{k=1}^{10^7} (k+x)",
]


def test_pathological_answers_are_wrong_and_cost_one_deadline_each() -> None:
    verifier = SymbolicVerifier(seconds=0.5, workers=1)
    references = tuple(Reference(name) for name in ("7", "x+1", "1/3", "0.25"))
    asked: list[int] = []
    ask = verifier._pool.ask
    verifier._pool.ask = lambda chains, *rest: asked.append(sum(map(len, chains))) or ask(chains, *rest)  # type: ignore[method-assign]
    example = Example("q", "?", references)
    prepared = verifier.prepare([(example, [*PATHOLOGICAL, "7.0"])])
    judgement = judge(example, answer_set(*PATHOLOGICAL, "7.0"), prepared)
    assert judgement.verdicts == (WRONG,) * 6 + (CORRECT,)
    assert judgement.faults == () and judgement.duplicates == (None,) * 7
    assert asked[0] == 6  # each alone, and after that only `7.0` with the references
    assert asked[1] == 4
    verifier.close()


def test_a_pathological_reference_leaves_its_answers_unscored() -> None:
    verifier = SymbolicVerifier(workers=1)
    example = Example("q", "?", (Reference(ENDLESS),))
    judgement = judge(example, answer_set("7", "flu", ENDLESS, "9^9^9"), verifier)
    assert judgement.verdicts == (UNSCORED, WRONG, CORRECT, UNSCORED)
    assert "cannot be evaluated (a number in it is too large to compute): correct the data" in judgement.faults[0]
    assert not verifier.same("7", ENDLESS)
    verifier.close()


def test_a_child_that_is_killed_is_replaced(symbolic: SymbolicVerifier) -> None:
    assert symbolic.same("1/4", "0.25")
    [process] = processes(symbolic._pool)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        assert symbolic.same("1/8", "0.125")
    except VerifierFault as exc:  # it was sent off before the death was noticed
        assert "died" in str(exc)
    assert symbolic.same("1/16", "0.0625")
    assert processes(symbolic._pool) != [process]


def test_a_fault_on_one_name_does_not_hide_another() -> None:
    verifier = SymbolicVerifier(workers=1)
    verifier._outcomes["1/2", "x"] = symbolic_module._Failure("the machine is down", is_exhausted=False)
    assert verifier.matches("1/2", Reference("x", ("0.5",)))
    with pytest.raises(VerifierFault, match="could not be compared: the machine is down"):
        verifier.matches("1/2", Reference("x"))
    verifier.close()


def test_a_batch_is_compared_on_several_children_and_its_outcomes_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verifier = SymbolicVerifier(seconds=60, workers=2)
    assert isinstance(verifier, QuestionVerifier)
    examples = [Example(str(i), "?", (Reference(f"{i}.5"),)) for i in range(20)]
    monkeypatch.setattr(symbolic_module, "MAX_REMEMBERED", 3)
    prepared = verifier.prepare((example, [f"{2 * i + 1}/2", "flu", f"{i}"]) for i, example in enumerate(examples))
    assert len(processes(verifier._pool)) == 2
    verifier.close()
    for i, example in enumerate(examples):
        found = judge(example, answer_set(f"{2 * i + 1}/2", "flu", f"{i}"), prepared)
        assert found.verdicts == (CORRECT, WRONG, WRONG)
    assert processes(verifier._pool) == []  # nothing had to be compared again
    failure = symbolic_module._Failure("the machine is down", is_exhausted=False)
    verifier._outcomes = {("1", "x"): failure}
    assert verifier.prepare([(Example("x", "?", (Reference("x"),)), ["1"])])._outcomes["1", "x"] == failure  # not again


def test_children_end_with_their_verifier() -> None:
    verifier = SymbolicVerifier(seconds=60, workers=1)
    verifier.same("1/2", "0.5")
    [process] = processes(verifier._pool)
    del verifier
    assert process.wait(timeout=10) is not None


def test_a_child_ends_when_its_input_does() -> None:
    command = [sys.executable, "-m", "polymode.verifiers.symbolic_worker", "5"]
    done = subprocess.run(
        command, input='{"id": 7, "a": "1/2", "b": "x^"}\n', capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.splitlines() == ['{"ready": true}', '{"id": 7, "equal": null}']


CHILD = """
import json, os, sys, time
{start}
print(json.dumps({{"ready": True}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    {work}
    print(json.dumps({{"id": request["id"], "equal": True}}), flush=True)
"""


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes pools whose children run a script of the test's."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = []

    def make(work: str = "pass", start: str = "", seconds: float = 20, size: int = 1) -> ChildPool:
        (tmp_path / "scripted_child.py").write_text(CHILD.format(start=start, work=work))
        made.append(ChildPool("scripted_child", size=size, seconds=seconds))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("if request['a'] == 1: os._exit(3)", "died"),
        ("if request['a'] == 1: print('nonsense', flush=True)", "wrote nonsense"),
        ("if request['a'] == 1: print('[1]', flush=True)", "wrote nonsense"),
        ("if request['a'] == 1: request['id'] -= 1", "answered something else"),
        ("if request['a'] == 1: print('x' * 10**6, flush=True)", "died"),
        ("if request['a'] == 1: time.sleep(600)", "no result within 1 s"),
    ],
)
def test_one_bad_reply_costs_one_request(work: str, said: str, pool) -> None:
    [replies] = pool(work, seconds=0.1 if "sleep" in work else 20).ask([[{"a": i} for i in range(3)]])
    assert said in replies[1]["error"]
    assert [reply for i, reply in enumerate(replies) if i != 1] == [{"equal": True}] * 2


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("if request['a'] == 1: os.kill(os.getpid(), 27)", "no result within 20 s"),  # SIGPROF, its own deadline
        ("if request['a'] == 1: os.kill(os.getpid(), 11)", "crash"),
    ],
)
def test_what_exhausts_a_child_ends_its_chain_and_no_other(work: str, said: str, pool) -> None:
    replies = pool(work).ask([[{"a": i} for i in range(4)], [{"a": 5}]])
    assert replies[0][0] == replies[1][0] == {"equal": True}
    assert said in replies[0][1]["exhausted"]
    assert replies[0][1:] == [replies[0][1]] * 3


@pytest.mark.parametrize("start", ["sys.exit(1)", "import no_such_module", "print('hello', flush=True)"])
def test_children_that_do_not_start_are_given_up(start: str, pool) -> None:
    replies = pool(start=start, size=2).ask([[{"a": i}] for i in range(5)])
    assert all("scripted_child does not start" in reply["error"] for [reply] in replies)


def test_a_child_that_is_never_ready_is_given_up(pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "START_SECONDS", 0.5)
    [[reply]] = pool(start="time.sleep(600)").ask([[{"a": 1}]])
    assert "does not start" in reply["error"]


def test_an_interrupted_batch_leaves_no_reply_behind(pool) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    some = pool(size=2)
    with pytest.raises(KeyboardInterrupt):
        some.ask([[{"a": i}] for i in range(4)], interrupt)
    assert processes(some) == []
    assert some.ask([[{"a": 1}]]) == [[{"equal": True}]]


def test_a_child_sees_no_secrets(pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    assert pool("if 'SOME_API_KEY' in os.environ: os._exit(3)").ask([[{"a": 1}]]) == [[{"equal": True}]]


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seconds": 0}, "seconds = 0 is not allowed: give a number above 0"),
        ({"seconds": float("nan")}, "seconds = nan is not allowed"),
        ({"seconds": "5"}, "seconds = '5' is not allowed"),
        ({"workers": -1}, "workers = -1 is not allowed: give a whole number from 0"),
        ({"workers": True}, "workers = True is not allowed"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SymbolicVerifier(**options)


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polymode.verifiers.symbolic.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"verifier 'symbolic' needs .*: pip install 'polymode\[math\]'"):
        SymbolicVerifier()
