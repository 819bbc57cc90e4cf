"""What shares a batch, what waits, what is dropped, and whom a failure concerns."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymode.errors import GeneratorFault, PromptRefusedError
from polymode.generate import Generated
from polymode.web.batching import Batcher, ClosedError, PromptRequest, QueueFullError

from .conftest import Model

SECONDS = 20


def ask(prompt: str = "p", k: int = 2, temperature: float = 1.0, seed: int = 0) -> PromptRequest:
    return PromptRequest(prompt, k, 100, temperature, seed)


@pytest.fixture
def model() -> Iterator[Model]:
    one = Model("x")
    yield one
    one.gate.set()


def held(model: Model, **options: object) -> Batcher:
    """A batcher whose worker already holds one request, "first", at the model's closed gate."""
    model.gate.clear()
    batcher = Batcher(model, **{"wait": 0.0, **options})  # type: ignore[arg-type]
    batcher.submit(ask("first"))
    until(lambda: len(model.calls) == 1)
    return batcher


def until(claim: object) -> None:
    deadline = time.monotonic() + SECONDS
    while not claim():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_what_waits_while_the_model_is_busy_becomes_one_batch(model: Model) -> None:
    batcher = held(model, size=3)
    rest = [batcher.submit(ask(f"p{i}")) for i in range(5)]
    assert batcher.n_waiting == 5
    model.gate.set()
    assert [future.result(SECONDS)[0].text for future in rest] == ["x"] * 5
    assert model.calls == [["first"], ["p0", "p1", "p2"], ["p3", "p4"]]
    batcher.close()


def test_only_requests_of_like_k_and_temperature_share_a_batch_and_the_oldest_goes_first(model: Model) -> None:
    batcher = held(model)
    asks = [ask("a"), ask("b", k=3), ask("c"), ask("d", temperature=0.0), ask("e", k=3)]
    futures = [batcher.submit(one) for one in asks]
    model.gate.set()
    wait(futures, SECONDS)
    assert model.calls == [["first"], ["a", "c"], ["b", "e"], ["d"]]
    assert [call["temperature"] for call in model.settings] == [1.0, 1.0, 1.0, 0.0]
    batcher.close()


def test_each_request_keeps_its_seed_in_a_batch(model: Model) -> None:
    batcher = held(model)
    futures = [batcher.submit(ask("a", seed=7)), batcher.submit(ask("b", seed=8)), batcher.submit(ask("c", seed=7))]
    model.gate.set()
    wait(futures, SECONDS)
    assert model.calls == [["first"], ["a", "b", "c"]]
    assert model.settings[1]["seed"] == [7, 8, 7]
    batcher.close()


def test_a_model_with_one_seed_for_all_is_asked_one_by_one(model: Model) -> None:
    model.takes_seeds = False
    batcher = held(model)
    futures = [batcher.submit(ask("a", seed=7)), batcher.submit(ask("b", seed=8))]
    model.gate.set()
    wait(futures, SECONDS)
    assert model.calls == [["first"], ["a"], ["b"]]
    assert [call["seed"] for call in model.settings[1:]] == [7, 8]
    batcher.close()


def test_several_completions_of_a_request_count_in_its_batch(model: Model) -> None:
    batcher = held(model, size=4)
    several = [batcher.submit(PromptRequest(f"p{i}", 2, 100, 1.0, i, n=2)) for i in range(3)]
    model.gate.set()
    assert [len(future.result(SECONDS)) for future in several] == [2, 2, 2]
    assert model.calls == [["first"], ["p0", "p1"], ["p2"]]
    batcher.close()


def test_a_lone_request_waits_no_longer_than_allowed(model: Model) -> None:
    batcher = Batcher(model, wait=0.05)
    start = time.monotonic()
    batcher.submit(ask()).result(SECONDS)
    assert time.monotonic() - start >= 0.05
    batcher.close()


def test_requests_shortly_after_each_other_share_a_batch(model: Model) -> None:
    batcher = Batcher(model, size=2, wait=SECONDS)  # the second fills the batch, so nothing waits so long
    futures = [batcher.submit(ask("a")), batcher.submit(ask("b"))]
    wait(futures, SECONDS / 2)
    assert model.calls == [["a", "b"]]
    batcher.close()


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refusal(batcher: Batcher, **options: Any) -> float:
    """The seconds of a request that finds no room."""
    with pytest.raises(QueueFullError) as caught:
        batcher.submit(ask(), **options)
    return caught.value.seconds


def test_a_refusal_says_when_the_next_places_are_free(model: Model) -> None:
    clock = Clock()
    batcher = held(model, room=4, size=2, clock=clock)
    waiting = [batcher.submit(ask(f"p{i}")) for i in range(4)]
    clock.now = 3.0  # nothing has been measured: the batch under way has lasted 3 s, and lasts a while yet
    assert refusal(batcher) == pytest.approx(0.25 * 3.0)
    clock.now = 12.0
    model.gate.set()  # the first batch took 12 s; those behind it take no time
    wait(waiting, SECONDS)
    until(lambda: len(batcher._durations) == 3)
    mean = 12.0 / 3

    model.gate.clear()
    batcher.submit(ask("under way"))
    until(lambda: len(model.calls) == 4)
    clock.now += 1.0
    waiting = [batcher.submit(ask(f"q{i}")) for i in range(4)]
    # Two places are free at the end of the batch, two more a batch later; who is refused first comes back first.
    assert [refusal(batcher) for _ in range(5)] == pytest.approx([mean - 1] * 2 + [2 * mean - 1] * 2 + [3 * mean - 1])
    model.gate.set()
    wait(waiting, SECONDS)
    batcher.submit(ask()).result(SECONDS)
    batcher.close()


def test_an_owner_without_a_share_waits_for_a_place_of_their_own(model: Model) -> None:
    clock = Clock()
    batcher = held(model, room=8, size=1, clock=clock)
    others = [batcher.submit(ask(), owner="b") for _ in range(3)]
    mine = [batcher.submit(ask(), owner="a", share=0.25) for _ in range(2)]
    clock.now = 2.0  # of the batch under way, and nothing is measured
    assert refusal(batcher, owner="a", share=0.25) == pytest.approx(0.25 * 2.0 + 3 * 2.0)  # three are before mine
    assert refusal(batcher, owner="a", share=0.25) == pytest.approx(0.25 * 2.0 + 4 * 2.0)
    model.gate.set()
    wait([*others, *mine], SECONDS)
    batcher.close()


def test_without_seeds_each_request_is_a_batch(model: Model) -> None:
    model.takes_seeds = False  # type: ignore[misc]
    clock = Clock()
    batcher = held(model, room=2, size=16, clock=clock)
    waiting = [batcher.submit(ask()) for _ in range(2)]
    clock.now = 1.0
    assert [refusal(batcher) for _ in range(2)] == pytest.approx([0.25, 1.25])
    model.gate.set()
    wait(waiting, SECONDS)
    batcher.close()


def test_the_queue_is_bounded_and_who_left_makes_room(model: Model) -> None:
    batcher = held(model, room=2)
    gone, stays = batcher.submit(ask("gone")), batcher.submit(ask("stays"))
    with pytest.raises(QueueFullError) as caught:
        batcher.submit(ask())
    assert caught.value.seconds > 0
    assert gone.cancel()
    late = batcher.submit(ask("late"))
    model.gate.set()
    wait([stays, late], SECONDS)
    assert model.calls == [["first"], ["stays", "late"]]
    with pytest.raises(CancelledError):
        gone.result()
    batcher.close()


def test_several_workers_ask_at_once() -> None:
    both = threading.Barrier(2)

    class Elsewhere:
        def generate(
            self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
        ) -> list[list[Generated]]:
            both.wait(SECONDS)
            return [[Generated(prompt, 1, True)] for prompt in prompts]

    batcher = Batcher(Elsewhere(), size=1, workers=2)
    futures = [batcher.submit(ask("a")), batcher.submit(ask("b"))]
    assert [future.result(SECONDS)[0].text for future in futures] == ["a", "b"]
    batcher.close()


def test_a_server_that_is_down_fails_the_batch_once(model: Model) -> None:
    batcher = held(model)
    model.fault = lambda _: GeneratorFault("down")
    futures = [batcher.submit(ask("a")), batcher.submit(ask("b"))]
    model.gate.set()
    for future in futures:
        with pytest.raises(GeneratorFault, match="down"):
            future.result(SECONDS)
    assert model.calls == [["first"], ["a", "b"]]  # not asked again one by one
    model.fault = lambda _: None
    assert batcher.submit(ask("c")).result(SECONDS)[0].text == "x"
    batcher.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (PromptRefusedError("too long"), "too long"),
        (RuntimeError("index out of range"), "the model failed with RuntimeError; the log of the server says more"),
    ],
)
def test_a_prompt_that_fails_fails_nobody_else(model: Model, fault: Exception, said: str) -> None:
    batcher = held(model)
    model.fault = lambda prompts: fault if "bad" in prompts else None
    futures = {name: batcher.submit(ask(name)) for name in ("a", "bad", "c")}
    model.gate.set()
    with pytest.raises(GeneratorFault, match=said):
        futures["bad"].result(SECONDS)
    assert futures["a"].result(SECONDS)[0].text == futures["c"].result(SECONDS)[0].text == "x"
    assert batcher.is_alive
    batcher.close()


def test_a_model_that_loses_completions_is_a_fault() -> None:
    class Lossy:
        def generate(self, prompts: Sequence[str], **_: object) -> list[list[Generated]]:
            return []

    batcher = Batcher(Lossy())
    with pytest.raises(GeneratorFault, match="ValueError"):
        batcher.submit(ask()).result(SECONDS)
    batcher.close()


def test_closing_fails_what_waits_and_lets_what_runs_end(model: Model) -> None:
    model.gate.clear()
    batcher = Batcher(model, wait=0.0)
    running = batcher.submit(ask("running"))
    until(lambda: len(model.calls) == 1)
    waiting = batcher.submit(ask("waiting"))
    closing = threading.Thread(target=batcher.close, args=(SECONDS,))
    closing.start()
    with pytest.raises(ClosedError):
        waiting.result(SECONDS)
    with pytest.raises(ClosedError):
        batcher.submit(ask())
    assert not batcher.is_alive
    model.gate.set()
    assert running.result(SECONDS)[0].text == "x"
    closing.join(SECONDS)
    assert not closing.is_alive()


def test_batches_are_noted(model: Model) -> None:
    noted: list[tuple[int, float]] = []
    batcher = held(model, on_batch=lambda size, seconds: noted.append((size, seconds)))
    wait([batcher.submit(ask()), batcher.submit(ask())], 0)
    model.gate.set()
    until(lambda: len(noted) == 2)
    assert [size for size, _ in noted] == [1, 2]
    assert all(seconds >= 0 for _, seconds in noted)
    batcher.close()


class Echo:
    """Says each prompt back, and keeps the batches."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], int, float]] = []

    def generate(
        self, prompts: Sequence[str], *, n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Generated]]:
        self.calls.append((list(prompts), max_tokens, temperature))
        return [[Generated(prompt, 1, True)] for prompt in prompts]


@settings(max_examples=30)
@given(
    asks=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([0.0, 1.0]), st.sampled_from([0, 1])), max_size=20),
    size=st.integers(1, 4),
    workers=st.integers(1, 3),
)
def test_everybody_gets_the_reply_to_the_own_prompt(
    asks: list[tuple[int, float, int]], size: int, workers: int
) -> None:
    echo = Echo()
    batcher = Batcher(echo, size=size, wait=0.001, workers=workers)
    # The prompt says which group it belongs to.
    sent = [ask(f"{i} k{k} t{t} s{s}", k, t, s) for i, (k, t, s) in enumerate(asks)]
    futures = [batcher.submit(one) for one in sent]
    assert [future.result(SECONDS)[0].text for future in futures] == [one.prompt for one in sent]
    batcher.close()
    assert sorted(prompt for prompts, _, _ in echo.calls for prompt in prompts) == sorted(a.prompt for a in sent)
    for prompts, _, temperature in echo.calls:
        assert len(prompts) <= size
        assert len({prompt.split(" ", 1)[1] for prompt in prompts}) == 1
        assert f"t{temperature}" in prompts[0]
        assert len(prompts) == 1 or "sNone" in prompts[0]
