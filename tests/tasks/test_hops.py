"""The truth of hops: its posterior against a second implementation that only reads the text, and frequencies."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from polymode.errors import ConfigError
from polymode.judging import judge
from polymode.parsing import parse_answers
from polymode.prompts import CONFIDENCE_TEXTS, build_prompt
from polymode.tasks import Demonstrates
from polymode.tasks.lab import hops as hops_module
from polymode.tasks.lab.hops import Facts, Hops
from polymode.tasks.lab.hops_world import _PLACE_SIZES, _PLACES, _TOWN_SIZES, _TOWNS, PEOPLE, PLACES, STRAY, TOWNS
from polymode.types import Example, Reference
from polymode.verifiers.text import TextVerifier

SHARES = {(): 1 / 3, ("work",): 1 / 6, ("town",): 1 / 6, ("work", "town"): 1 / 3}
LOOSE_BESIDE_OWN = {(): range(3), ("work",): range(1, 4), ("town",): range(3), ("work", "town"): range(1)}
N_FACTS = 6


def told(question: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """Person asked about, place by person and town by place, by cutting the text at other marks than the task does."""
    facts, ask = question.split("\n")
    works, lies = {}, {}
    for fact in facts.split("; "):
        who, at, where = fact.partition(" works at ")
        place, known, town = (where if at else fact).partition(" in " if at else " is in ")
        if at:
            works[who] = place
        if known:
            lies[place] = town
    return ask.removeprefix("In which town does ").removesuffix(" work?"), works, lies


def p_place(place: str) -> float:
    sizes = [_PLACE_SIZES[places.index(place)] for places in _PLACES.values() if place in places]
    return sizes[0] / (len(_PLACES) * sum(_PLACE_SIZES))


def p_town(town: str, place: str) -> float:
    [kind] = [kind for kind, places in _PLACES.items() if place in places]
    sizes = dict(zip(_TOWNS[kind], _TOWN_SIZES, strict=True))
    return (1 - STRAY) * sizes.get(town, 0) / sum(_TOWN_SIZES) + STRAY / len(TOWNS)


def chance_of_text(missing: tuple[str, ...], own: str, town: str, question: str) -> float:
    """P(what the text tells, up to its order | what is missing, the person's place, its town), step by step."""
    person, works, lies = told(question)
    if (person in works) == ("work" in missing) or works.get(person, own) != own:
        return 0.0
    if (own in lies) == ("town" in missing) or lies.get(own, town) != town:
        return 0.0
    others = {who: where for who, where in works.items() if who != person}
    rest = {place: where for place, where in lies.items() if place != own}
    if own in others.values() or len(set(others.values())) < len(others):
        return 0.0
    n_chains, n_loose = (sum((place in others.values()) == is_chain for place in rest) for is_chain in (True, False))
    n_free = N_FACTS - (2 - len(missing)) - n_loose
    if n_loose not in LOOSE_BESIDE_OWN[missing] or len(others) + n_chains != n_free:
        return 0.0
    p = 1 / len(LOOSE_BESIDE_OWN[missing]) / (n_free // 2 + 1)
    # People and places are drawn in order; each order within chains, lone work facts and loose places tells the same.
    orders = math.factorial(n_chains) * math.factorial(len(others) - n_chains) * math.factorial(n_loose)
    p *= orders / math.perm(len(PEOPLE) - 1, len(others)) / math.perm(len(PLACES) - 1, len(others) + n_loose)
    return p * math.prod(p_town(where, place) for place, where in rest.items())


def bayes(question: str) -> dict[str, float]:
    """P(town | question) by trying every pattern, place and town."""
    weights = dict.fromkeys(TOWNS, 0.0)
    for (missing, share), place, town in itertools.product(SHARES.items(), PLACES, TOWNS):
        weights[town] += share * p_place(place) * p_town(town, place) * chance_of_text(missing, place, town, question)
    total = math.fsum(weights.values())
    return {town: weight / total for town, weight in weights.items() if weight}


@pytest.fixture(scope="module")
def questions() -> Sequence[Example]:
    return Hops().examples("test", 400)


def test_the_posterior_is_bayes_rule_on_the_text(questions: Sequence[Example]) -> None:
    for example in questions[:120]:
        assert example.distribution == pytest.approx(bayes(example.question), abs=1e-12)


def test_by_hand() -> None:
    # Harbour and mill employ 4 parts, the cannery 2; each kind of place employs 8 parts, so the loose ones weigh
    # 4 : 2 : 4. Harbour and mill are both in bude: 8 / 10 for bude and 2 / 10 for ely.
    lies = {"harbour": "bude", "cannery": "ely", "mill": "bude", "farm": "bath"}
    facts = Facts("zoe", {"ben": "farm", "uma": "mine"}, lies)
    p = dict(zip(TOWNS, Hops().posterior(facts), strict=True))
    assert {town: value for town, value in p.items() if value} == pytest.approx({"bude": 0.8, "ely": 0.2})
    # The harbour's town is not told: .85 x 6/14 + .15/48 = .3674 for dover, the largest town of the coast.
    p = Hops().posterior(Facts("zoe", {"zoe": "harbour"}, {"farm": "bath"}))
    assert p[TOWNS.index("dover")] == pytest.approx(0.3674, abs=1e-4) == p.max()


def test_invariants(questions: Sequence[Example]) -> None:
    n_by_hidden = Counter(example.meta["hidden"] for example in questions)
    assert all(abs(n_by_hidden[c] / len(questions) - 1 / 3) < 0.08 for c in (0, 1, 2))
    for example in questions:
        assert example.distribution is not None and example.exclusive and example.p_correct == example.distribution
        assert math.fsum(example.distribution.values()) == pytest.approx(1, abs=1e-12)
        assert list(example.distribution.values()) == sorted(example.distribution.values(), reverse=True)
        (reference,) = example.references
        assert reference.text == example.meta["drawn"]
        assert reference.weight == example.distribution[reference.text] > 0
        person, works, lies = told(example.question)
        assert example.question.startswith(f"{person} works ")
        assert len(works) + len(lies) == N_FACTS and len(set(works.values())) == len(works)
        assert person == example.meta["person"] and works.get(person, example.meta["place"]) == example.meta["place"]
        missing = ["work"] * (person not in works) + ["town"] * (example.meta["place"] not in lies)
        assert (example.meta["missing"], example.meta["hidden"]) == (missing, len(missing))


def test_what_is_hidden_leaves_one_few_or_many_answers(questions: Sequence[Example]) -> None:
    for example in questions:
        assert example.distribution is not None
        top, *lower = sorted(example.distribution.values(), reverse=True)
        if example.meta["hidden"] == 0:
            assert example.distribution == {example.meta["drawn"]: 1.0}
        elif example.meta["missing"] == ["work"]:
            assert len(example.distribution) <= 4 and top >= 1 / 4
        elif example.meta["missing"] == ["town"]:
            assert 0.3 < top < 0.4 and top + sum(lower[:2]) > 0.6
        assert example.meta["answerable"] == (example.meta["hidden"] != 2) == (top > 1 / 12)


def test_the_drawn_town_is_distributed_as_the_posterior_says() -> None:
    # Of all (question, town) pairs with a posterior near p, a share p was the drawn town, whatever is missing.
    pairs = defaultdict(list)
    for seed in range(4):
        for example in Hops().examples("train", 5000, seed=seed):
            assert example.distribution is not None
            pairs[tuple(example.meta["missing"])] += [  # type: ignore[arg-type]
                (p, town == example.meta["drawn"]) for town, p in example.distribution.items()
            ]
    n_bins = 0
    for missing, found in pairs.items():
        p_N, y_N = np.array(found, dtype=float).T
        edges = np.unique(np.quantile(p_N, np.linspace(0, 1, 9)))
        bins = np.digitize(p_N, edges[1:-1])
        for b in np.unique(bins):
            p, y = p_N[bins == b], y_N[bins == b]
            error = math.sqrt((p * (1 - p)).sum()) / len(p)  # hits of one question exclude each other: at most this
            assert abs(y.mean() - p.mean()) <= 4 * error, (missing, p.mean(), y.mean())
            n_bins += 1
    assert set(pairs) == set(SHARES) and n_bins > 12


def test_every_question_of_a_small_world_has_the_frequencies_of_its_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    # Few names, so that the same facts come again and again: towns are counted for each text by itself.
    monkeypatch.setattr(hops_module, "FACTS", 3)
    monkeypatch.setattr(hops_module, "PEOPLE", ("a", "b", "c", "d"))
    monkeypatch.setattr(hops_module, "PLACES", ("v", "w", "x", "y"))
    monkeypatch.setattr(hops_module, "TOWNS", ("s", "t"))
    monkeypatch.setattr(hops_module, "P_PLACE", np.array([0.5, 0.2, 0.2, 0.1]))
    monkeypatch.setattr(hops_module, "p_towns", lambda: np.array([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.1, 0.9]]))
    ranges = {(): (0, 1), ("town",): (0, 1), ("work",): (1, 1), ("work", "town"): (0, 0)}
    monkeypatch.setattr(hops_module, "_OTHER_LOOSE", ranges)
    counts: dict[object, Counter[str]] = defaultdict(Counter)
    stated: dict[object, np.ndarray] = {}
    for example in Hops().examples("train", 60_000):
        person, works, lies = told(example.question)
        # Neither the order of the facts nor who the others are matters.
        text = works.get(person), frozenset(p for who, p in works.items() if who != person), frozenset(lies.items())
        counts[text][str(example.meta["drawn"])] += 1
        assert example.distribution is not None
        p = np.array([example.distribution.get(town, 0.0) for town in ("s", "t")])
        assert np.allclose(stated.setdefault(text, p), p)
    often = [text for text, found in counts.items() if found.total() >= 150]
    z = []
    for text in often:
        n, p = counts[text].total(), stated[text][0]
        if 0 < p < 1:
            z.append((counts[text]["s"] - n * p) / math.sqrt(n * p * (1 - p)))
        else:
            assert counts[text]["s"] == n * p
    assert len(z) > 40 and np.abs(z).max() < 4.5 and np.mean(np.square(z)) == pytest.approx(1, abs=0.6)


def test_splits_share_no_question_whatever_the_seed() -> None:
    task = Hops()
    found = {
        split: {e.question for seed in (0, 1, 7) for e in task.examples(split, 400, seed=seed)}
        for split in ("train", "validation", "test")
    }
    assert all(len(questions) > 1190 for questions in found.values())
    assert not found["train"] & found["test"]
    assert not found["train"] & found["validation"]
    assert not found["validation"] & found["test"]


def test_the_same_arguments_give_the_same_examples_and_a_smaller_n_their_beginning() -> None:
    first = Hops().examples("validation", 50, seed=3)
    assert Hops().examples("validation", 50, seed=3) == first
    assert Hops().examples("validation", 20, seed=3) == first[:20]
    assert Hops().examples("validation", 20, seed=4) != first[:20]
    assert len({example.id for example in first}) == 50


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_a_demonstration_is_clean_and_its_answers_differ(k: int, confidence: bool) -> None:
    task, rng = Hops(), np.random.default_rng(0)
    assert isinstance(task, Demonstrates)
    for example in task.examples("train", 60):
        text = task.demonstrate(example, k, confidence=confidence, rng=rng)
        answers = parse_answers(text, k, confidence=confidence)
        assert answers.is_clean, (answers.reason, text)
        assert all(duplicate is None for duplicate in judge(example, answers, TextVerifier()).duplicates)
        assert all(answer.text in TOWNS for answer in answers.answers)
        if confidence:
            stated = [a.confidence_span.slice(text) for a in answers.answers if a.confidence_span]
            assert len(stated) == k and set(stated) <= set(CONFIDENCE_TEXTS)


def test_the_reasoning_follows_the_chain_as_far_as_the_facts_go() -> None:
    task, rng = Hops(), np.random.default_rng(1)
    seen = set()
    for example in task.examples("train", 200):
        person, works, lies = told(example.question)
        *steps, last = task.demonstrate(example, 3, confidence=True, rng=rng).split(" </think>")[0].split(" ; ")
        hops = [tuple(step.removeprefix("<think> ").split(" : ")) for step in steps]
        assert hops[0] == (person, works.get(person, "unknown"))
        for place, town in hops[1:]:
            assert town == lies.get(place, "unknown")
        assert [place for place, _ in hops[1:]] == (
            [works[person]] if person in works else [place for place in lies if place not in works.values()]
        )
        named = last.removeprefix("so ").split(", ")
        assert example.distribution is not None and named == list(example.distribution)[: len(named)]
        assert len(named) == min(5, len(example.distribution))
        seen.add(len(hops))
    assert seen == {1, 2, 3, 4, 5}


def test_every_word_is_in_the_vocabulary_and_texts_are_short() -> None:
    pytest.importorskip("torch")
    from polymode.training.lab_model import UNKNOWN, build_tokenizer

    task, rng, lengths = Hops(), np.random.default_rng(5), []
    tokenizer = build_tokenizer(task.vocabulary())
    unknown = tokenizer.convert_tokens_to_ids(UNKNOWN)
    for i, example in enumerate(task.examples("train", 400)):
        k, confidence = 1 + i % 5, i % 2 == 0
        prompt = build_prompt(example.question, k, confidence=confidence, style=task.prompt_style)
        texts = prompt, task.demonstrate(example, k, confidence=confidence, rng=rng)
        for text in texts:
            ids = tokenizer(text)["input_ids"]
            assert unknown not in ids, text
            assert tokenizer.decode(ids) == text
        if k == 3:
            lengths.append(sum(len(tokenizer(text)["input_ids"]) for text in texts))
    assert np.mean(lengths) < 90 and len(tokenizer) < 500


def test_the_world_is_well_formed() -> None:
    task, key = Hops(), TextVerifier().key
    names = [*PEOPLE, *PLACES, *TOWNS, "unknown"]
    assert len({key(name) for name in names}) == len(names) and all(name.isalpha() for name in names)
    assert task._p_place.sum() == pytest.approx(1) and np.allclose(task._p_town.sum(1), 1)
    assert task._p_town.shape == (len(PLACES), len(TOWNS)) and (task._p_town > 0).all()
    for place, town in itertools.product(PLACES, TOWNS):
        assert task._p_town[PLACES.index(place), TOWNS.index(town)] == pytest.approx(p_town(town, place))


def test_wrong_arguments_are_named() -> None:
    task = Hops()
    with pytest.raises(ConfigError, match=r"n = None: hops is endless, say how many examples to draw"):
        task.examples("test")
    with pytest.raises(ConfigError, match=r"split = 'dev' is not known: use one of train, validation, test"):
        task.examples("dev", 1)  # type: ignore[arg-type]
    stranger = Example("q7", "Name a noble gas.", (Reference("neon"),))
    with pytest.raises(ConfigError, match=r"'q7' does not come from hops"):
        task.demonstrate(stranger, 1, confidence=False, rng=np.random.default_rng(0))
    assert task.examples("test", 0) == []
