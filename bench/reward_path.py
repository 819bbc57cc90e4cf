"""Speed of the reward path (parse, judge, score) on one core, and that hostile text costs linear time.

    taskset -c 0 python bench/reward_path.py      all tables, about 30 seconds
    python bench/reward_path.py --completions 20000

Targets for K = 3 and texts of 400 words: 50,000 completions/s for the three steps, and 45,000/s for `reward_of`, which
also reads and checks the references, in every layout of the grammar. Completions are all different. `common
answers` draws the answers from 60 conditions, as in a diagnosis task, so their normalised forms are cached; `new
answers` never repeats an answer, the worst case. Figures are processor time, the best of `--rounds`: other work on the
machine can only slow them.
"""

from __future__ import annotations

import argparse
import gc
import random
import string
import time
from collections.abc import Callable, Sequence
from functools import partial

from polymode import METHODS, Example, Reference, Reward, TextVerifier, judge, parse_answers, reward_of, score_set
from polymode.rewards import Method
from polymode.verifiers import Verifier

TARGET = 50_000
SCORE_TARGET = 45_000
SCORED = 4000
K = 3
WORDS = 400


def random_word(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 9)))


def random_examples(n: int, conditions: Sequence[str], rng: random.Random) -> list[Example]:
    """Questions with four references, one of them with an alias."""
    examples = []
    for i in range(n):
        names = rng.sample(conditions, 4)
        references = (Reference(names[0], (random_word(rng),)), *(Reference(name) for name in names[1:]))
        examples.append(Example(str(i), "", references))
    return examples


def random_completion(answers: Sequence[str], words: Sequence[str], *, confidence: bool, rng: random.Random) -> str:
    """Reasoning, then the slots."""
    slots = "\n".join(
        f"<answer{i}>{answer}</answer{i}>"
        + (f"<confidence{i}>{rng.random():.2f}</confidence{i}>" if confidence else "")
        for i, answer in enumerate(answers, 1)
    )
    return f"<think>{' '.join(rng.choices(words, k=WORDS))}</think>\n{slots}"


def best_seconds(work: Callable[[], object], rounds: int = 1) -> float:
    """Shortest of several timings, in seconds of processor time."""
    times = []
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def random_pairs(
    n: int, method: Method, examples: Sequence[Example], conditions: Sequence[str] | None, rng: random.Random
) -> list[tuple[str, Example]]:
    """Completions with their questions, 32 in a row for each; answers are new words when there are no conditions."""
    words = [random_word(rng) for _ in range(2000)]
    pairs = []
    for i in range(n):
        if conditions is None:
            answers = [f"The {random_word(rng)} {random_word(rng)} ({i})" for _ in range(K)]
        else:
            answers = rng.choices(conditions, k=K)
        text = random_completion(answers, words, confidence=method.has_confidence, rng=rng)
        pairs.append((text, examples[i // 32 % len(examples)]))
    return pairs


def score_all(pairs: Sequence[tuple[str, Example]], method: Method, reward: Reward, verifier: Verifier) -> None:
    """The reward path."""
    for text, example in pairs:
        answers = parse_answers(text, K, confidence=method.has_confidence)
        score_set(judge(example, answers, verifier), reward)


def measure_speed(n: int, rounds: int) -> None:
    rng = random.Random(0)
    conditions = [f"{random_word(rng)} {random_word(rng)}".capitalize() for _ in range(60)]
    examples = random_examples(max(1, n // 32), conditions, rng)
    verifier = TextVerifier()
    print(f"{n} completions of {WORDS} words and K = {K}, {len(examples)} questions, best of {rounds}")
    print(f"{'method':12} {'answers':16} {'completions/s':>14} {'µs each':>9}   target {TARGET}/s")
    for name in ("multi-rlcr", "multi-rlvr"):
        method = METHODS[name]
        reward = method.reward()
        for kind in ("common answers", "new answers"):
            is_common = kind == "common answers"
            pairs = random_pairs(n, method, examples, conditions if is_common else None, rng)
            # New answers are timed once each, in shares: a second time they would be cached.
            size = n if is_common else n // rounds
            shares = [pairs if is_common else pairs[i * size : (i + 1) * size] for i in range(rounds)]
            seconds = min(best_seconds(partial(score_all, share, method, reward, verifier)) for share in shares)
            rate = size / seconds
            print(f"{name:12} {kind:16} {rate:14,.0f} {1e6 / rate:9.1f}   {'reached' if rate >= TARGET else 'MISSED'}")


def laid_out(layout: str, conditions: Sequence[str], words: Sequence[str], rng: random.Random) -> str:
    """A completion with three answers and confidences.

    ``layout`` lists its parts in order: t (reasoning of `WORDS` words), p (pairs of answer and confidence), f (the same
    with the confidence first), a (answers), c (confidences), s (short analysis, 40 words), l (long analysis, `WORDS`
    words).
    """
    answers = [f"<answer{i}>{answer}</answer{i}>" for i, answer in enumerate(rng.choices(conditions, k=K), 1)]
    confidences = [f"<confidence{i}>{rng.random():.2f}</confidence{i}>" for i in range(1, K + 1)]
    parts = {
        "t": lambda: f"<think>{' '.join(rng.choices(words, k=WORDS))}</think>",
        "p": lambda: "\n".join(map("".join, zip(answers, confidences, strict=True))),
        "f": lambda: "\n".join(map("".join, zip(confidences, answers, strict=True))),
        "a": lambda: "\n".join(answers),
        "c": lambda: "\n".join(confidences),
        "s": lambda: f"<analysis>{' '.join(rng.choices(words, k=40))}</analysis>",
        "l": lambda: f"<analysis>{' '.join(rng.choices(words, k=WORDS))}</analysis>",
    }
    return "\n".join(parts[part]() for part in layout)


def score_texts(texts: Sequence[str], references: Sequence[object]) -> None:
    for text, right in zip(texts, references, strict=True):
        reward_of(text, right, k=K)


def measure_score(rounds: int) -> None:
    rng = random.Random(1)
    conditions = [f"{random_word(rng)} {random_word(rng)}".capitalize() for _ in range(60)]
    words = [random_word(rng) for _ in range(2000)]
    print(f"\npolymode.reward_of: {SCORED} completions of {WORDS} words, K = {K}, four references, best of {rounds}")
    print(f"{'layout':48} {'completions/s':>14}   target {SCORE_TARGET}/s")
    layouts = {
        "reasoning, pairs": "tp",
        "reasoning, pairs, analysis": "tps",
        "reasoning, pairs with the confidence first": "tf",
        "reasoning, answers, confidences": "tac",
        "reasoning, answers, analysis, confidences": "tasc",
        "reasoning, answers, confidences, analysis": "tacs",
        "answers, analysis of all words, confidences": "alc",
    }
    one_question: list[object] = [[conditions[0], random_word(rng)], *conditions[1:4]]
    for name, layout in layouts.items():
        texts = [laid_out(layout, conditions, words, rng) for _ in range(SCORED)]
        rate = SCORED / best_seconds(partial(score_texts, texts, [one_question] * SCORED), rounds)
        print(f"{name:48} {rate:14,.0f}   {'reached' if rate >= SCORE_TARGET else 'MISSED'}")
    texts = [laid_out("tp", conditions, words, rng) for _ in range(SCORED)]
    # Each round asks new questions, which were never read before.
    own = [[[f"{conditions[0]} {i} {r}", *conditions[1:4]] for i in range(SCORED)] for r in range(rounds)]
    rate = SCORED / min(best_seconds(partial(score_texts, texts, references)) for references in own)
    print(f"{'reasoning, pairs; new references each time':48} {rate:14,.0f}   (no target)")


def hostile_texts(size: int) -> dict[str, str]:
    """Texts of about ``size`` characters made to slow a parser down."""

    def repeated(piece: str) -> str:
        return piece * (size // len(piece))

    return {
        "<answer1> repeated": repeated("<answer1>"),
        "<think> repeated": repeated("<think>"),
        "</think> repeated": repeated("</think>"),
        "<think></think> repeated": repeated("<think></think>"),
        "slots repeated": repeated("<answer1>a</answer1><confidence1>0.5</confidence1>"),
        "confidences first, repeated": repeated("<confidence1>0.5</confidence1><answer1>a</answer1>"),
        "confidences repeated": repeated("<confidence1>0.5</confidence1>"),
        "nested answers": "<answer1>" * (size // 19) + "</answer1>" * (size // 19),
        "unclosed answer": "</think><answer1>" + repeated("a"),
        "answer full of <": "</think><answer1>" + repeated("<"),
        "closing tag cut short": "</think><answer1>" + repeated("</answer1"),
        "spaces in a slot": "</think><answer1>" + repeated(" ") + "<",
        "spaces between slots": "</think><answer1>a</answer1>" + repeated(" ") + "x",
        "long number": "<answer1>a</answer1><confidence1>0." + repeated("1") + "</confidence1>",
        "long tag number": "<answer" + repeated("1") + ">",
        "analysis full of <": "</think><answer1>a</answer1><analysis>" + repeated("<"),
        "analysis of cut tags": "</think><answer1>a</answer1><analysis>" + repeated("<answer1"),
    }


def read_and_score(text: str) -> None:
    """One hostile text through salvage, as in evaluation, and through the reward path."""
    parse_answers(text, K, confidence=True, salvage=True)
    judgement = judge(Example("", "", (Reference("a"),)), parse_answers(text, K, confidence=True), TextVerifier())
    score_set(judgement, METHODS["multi-rlcr"].reward())


def measure_linearity(sizes: Sequence[int], rounds: int) -> None:
    heads = "".join(f"{size / 1000:>9g} kB" for size in sizes)
    print(f"\n{'hostile text':26}{heads}   last / first (linear: {sizes[-1] / sizes[0]:g})")
    for name in hostile_texts(100):
        seconds = [best_seconds(partial(read_and_score, hostile_texts(size)[name]), rounds) for size in sizes]
        row = "".join(f"{1000 * value:>9.2f} ms" for value in seconds)
        print(f"{name:26}{row}   {seconds[-1] / seconds[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=20_000, help="completions in each timing")
    parser.add_argument("--rounds", type=int, default=5, help="timings, of which the best counts")
    options = parser.parse_args()
    measure_speed(options.completions, options.rounds)
    measure_score(options.rounds)
    measure_linearity((4_750, 9_500, 19_000), 20 * options.rounds)  # short enough for the regular expressions
    measure_linearity((250_000, 500_000, 1_000_000), options.rounds)


if __name__ == "__main__":
    main()
