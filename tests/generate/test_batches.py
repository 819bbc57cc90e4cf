"""Batches: each completion once, the same after an interruption, and a fault costs its own batch only."""

import hashlib
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode.errors import ConfigError, GeneratorFault, PromptRefusedError
from polymode.generate import Generated, Generator
from polymode.generate import calls as faults
from polymode.generate.batches import Batch, batches_of, sample_batches
from polymode.types import Completion, Example, Reference

EXAMPLES = [Example(f"q{i}", "x" * (7 * i % 5), (Reference("a"),)) for i in range(10)]


class Hashes:
    """A text of each prompt, sample and seed; notes its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, int]] = []

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        self.calls.append((len(prompts), n, seed))
        return [
            [Generated(self._text(f"{seed} {p} {i} {at}"), 3, True) for i in range(n)] for at, p in enumerate(prompts)
        ]

    def _text(self, name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()[:12]


def sample(
    generator: Generator, *, samples: int = 3, batch: int = 6, present: Sequence[Completion] = ()
) -> list[Completion]:
    how = {"k": 1, "confidence": False, "max_tokens": 9, "temperature": 1.0, "seed": 5, "style": "brief"}
    there = {(one.example.id, one.sample) for one in present}
    made = sample_batches(EXAMPLES, generator, samples=samples, batch=batch, present=there, **how)  # type: ignore[arg-type]
    return [one for own in made for one in own]


def texts(completions: Sequence[Completion]) -> dict[tuple[str, int], str]:
    out = {(one.example.id, one.sample): one.text for one in completions}
    assert len(out) == len(completions)  # none twice
    return out


@given(n=st.integers(1, 12), samples=st.integers(1, 9), size=st.integers(1, 20), data=st.data())
def test_every_missing_completion_is_in_one_batch(n: int, samples: int, size: int, data: st.DataObject) -> None:
    every = [(q, s) for q in range(n) for s in range(samples)]
    present = data.draw(st.sets(st.sampled_from(every)))
    order = data.draw(st.permutations(range(n)))
    made = batches_of(order, samples, size, present)
    planned = [(q, s) for one in made for q in one.questions for s in one.samples]
    assert sorted(planned) == sorted(set(every) - present)
    assert all(len(one) <= size for one in made)


def test_a_seed_depends_on_the_first_completion_of_a_batch_alone() -> None:
    assert Batch((3, 1), (0, 1)).seed(7) == Batch((3,), (0,)).seed(7)
    seeds = {Batch((q,), (s,)).seed(seed) for q in range(20) for s in range(20) for seed in range(3)}
    assert len(seeds) == 1200 and all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(("samples", "batch"), [(3, 6), (1, 4), (5, 2), (2, 100)])
def test_after_an_interruption_the_completions_are_those_of_a_whole_run(samples: int, batch: int) -> None:
    whole = Hashes()
    expected = texts(sample(whole, samples=samples, batch=batch))
    assert len(expected) == 10 * samples
    for n_finished in range(len(whole.calls)):
        first, second = Hashes(), Hashes()
        finished = sample(first, samples=samples, batch=batch)[: sum(p * n for p, n, _ in whole.calls[:n_finished])]
        rest = sample(second, samples=samples, batch=batch, present=finished)
        assert texts([*finished, *rest]) == expected
        assert second.calls == whole.calls[n_finished:]


def test_prompts_of_like_length_share_a_batch() -> None:
    lengths = [len(one.example.question) for one in sample(Hashes(), samples=1, batch=2)]
    assert lengths == sorted(lengths)


def test_a_batch_that_fails_is_left_out_and_named_in_the_end() -> None:
    class Picky(Hashes):
        def generate(self, prompts: Sequence[str], **how: Any) -> list[list[Generated]]:
            if "xxxx\n" in "".join(prompts):
                raise PromptRefusedError("too long \ud83d")
            return super().generate(prompts, **how)

    made: list[Completion] = []
    how = {"k": 1, "confidence": False, "max_tokens": 9, "temperature": 1.0, "seed": 5, "style": "brief"}
    with pytest.raises(GeneratorFault, match="2 of 10 completions could not be generated; the first: too long"):
        for own in sample_batches(EXAMPLES, Picky(), samples=1, batch=1, **how):  # type: ignore[arg-type]
            made += own
    assert len(texts(made)) == 8


def test_a_back_end_that_only_fails_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Broken:
        def generate(self, prompts: Sequence[str], **_: object) -> list[list[Generated]]:
            calls.append(prompts)
            raise MemoryError("no room")

    monkeypatch.setattr(faults, "MAX_FAULTS_IN_A_ROW", 4)
    with pytest.raises(GeneratorFault, match="4 calls in a row failed; the first: MemoryError: no"):
        sample(Broken(), samples=1, batch=1)
    assert len(calls) == 4


class Refusing(Hashes):
    """A server that answers some of its calls, by number, and refuses the others."""

    is_concurrent, concurrency = True, 1

    def __init__(self, answers: range) -> None:
        super().__init__()
        self.answers, self.n_asked = answers, 0

    def generate(self, prompts: Sequence[str], **how: Any) -> list[list[Generated]]:
        self.n_asked += 1
        if self.n_asked - 1 not in self.answers:
            raise PromptRefusedError("content policy")
        return super().generate(prompts, **how)


def asked(generator: Generator, made: list[Completion], n: int, **options: Any) -> list[Completion]:
    """Completions of many questions where refused ones are empty, also in ``made`` as they come."""
    examples = [Example(f"q{i}", f"{i}?", (Reference("a"),)) for i in range(n)]
    how = {"k": 1, "confidence": False, "max_tokens": 9, "temperature": 1.0, "seed": 5, "style": "brief"}
    for own in sample_batches(examples, generator, samples=1, batch=1, refused="empty", **how, **options):  # type: ignore[arg-type]
        made += own
    return made


def test_a_refusal_after_an_answer_is_an_empty_completion_at_once() -> None:
    made = asked(Refusing(range(20)), [], 600)
    assert [one.text == "" for one in made] == [False] * 20 + [True] * 580
    assert all(one.is_finished for one in made)
    # After an interruption nothing that was refused is asked again.
    again = Refusing(range(0))
    rest = asked(again, [], 600, present={(one.example.id, one.sample) for one in made[:500]})
    assert again.n_asked == len(rest) == 100


def test_refusals_before_the_first_answer_wait_for_it() -> None:
    made = asked(Refusing(range(40, 42)), [], 60)
    assert len(texts(made)) == 60 and [one.text == "" for one in made] == [False] + [True] * 40 + [False] + [True] * 18


def test_a_server_that_refuses_everything_is_given_up() -> None:
    made: list[Completion] = []
    generator = Refusing(range(0))
    with pytest.raises(GeneratorFault, match="256 calls in a row failed; the first: content policy"):
        asked(generator, made, 600)
    assert made == [] and generator.n_asked == 256
    with pytest.raises(GeneratorFault, match="9 of 9 completions could not be generated; the first: content policy"):
        asked(Refusing(range(0)), made, 9)


def test_a_wrong_option_ends_it_at_once() -> None:
    class Wrong:
        def generate(self, prompts: Sequence[str], **_: object) -> list[list[Generated]]:
            raise ConfigError("script has no texts")

    with pytest.raises(ConfigError, match="script has no texts"):
        sample(Wrong())


def test_a_concurrent_generator_gets_each_completion_as_a_call_of_its_own() -> None:
    class Threaded(Hashes):
        is_concurrent, concurrency = True, 3
        busy = most = 0
        lock = threading.Lock()

        def generate(self, prompts: Sequence[str], **how: Any) -> list[list[Generated]]:
            with self.lock:
                self.busy += 1
                self.most = max(self.most, self.busy)
            time.sleep(0.002)
            with self.lock:
                self.busy -= 1
            return super().generate(prompts, **how)

    generator, one_by_one = Threaded(), Hashes()
    made = sample(generator, samples=2)
    assert texts(made) == texts(sample(one_by_one, samples=2, batch=1))
    assert generator.most == 3 and {call[:2] for call in generator.calls} == {(1, 1)}
    rest = sample(Threaded(), samples=2, present=made[:7])
    assert texts([*made[:7], *rest]) == texts(made)


def test_a_generator_may_say_how_large_a_batch_is() -> None:
    generator = Hashes()
    generator.batch = 4  # type: ignore[attr-defined]
    sample(generator, samples=1, batch=1)
    assert [n for n, _, _ in generator.calls] == [4, 4, 2]
