"""Speed of the reward path (parse, judge, score) on one core, and that hostile text costs linear time.

    python bench/reward_path.py                   both tables, about 20 seconds
    python bench/reward_path.py --completions 20000

Target: 50,000 completions/s for K = 3 with 400 words of reasoning. Completions are all different. `common answers`
draws the answers from 60 conditions, as in a diagnosis task, so their normalised forms are cached; `new answers` never
repeats an answer, the worst case. Figures are processor time, the best of `--rounds`: other work can only slow it.
"""

from __future__ import annotations

import argparse
import gc
import random
import string
import time
from collections.abc import Callable, Sequence
from functools import partial

from polymode import METHODS, Example, Reference, Reward, TextVerifier, judge, parse_answers, score_set
from polymode.rewards import Method
from polymode.verifiers import Verifier

TARGET = 50_000
K = 3
WORDS = 400
MILLION = 1_000_000


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
        "nested answers": "<answer1>" * (size // 19) + "</answer1>" * (size // 19),
        "unclosed answer": "</think><answer1>" + repeated("a"),
        "answer full of <": "</think><answer1>" + repeated("<"),
        "closing tag cut short": "</think><answer1>" + repeated("</answer1"),
        "spaces in a slot": "</think><answer1>" + repeated(" ") + "<",
        "spaces between slots": "</think><answer1>a</answer1>" + repeated(" ") + "x",
        "long number": "<answer1>a</answer1><confidence1>0." + repeated("1") + "</confidence1>",
        "long tag number": "<answer" + repeated("1") + ">",
    }


def read_and_score(text: str) -> None:
    """One hostile text through salvage, as in evaluation, and through the reward path."""
    parse_answers(text, K, confidence=True, salvage=True)
    judgement = judge(Example("", "", (Reference("a"),)), parse_answers(text, K, confidence=True), TextVerifier())
    score_set(judgement, METHODS["multi-rlcr"].reward())


def measure_linearity(rounds: int) -> None:
    sizes = (MILLION // 4, MILLION // 2, MILLION)
    heads = "".join(f"{size / MILLION:>9.2f} MB" for size in sizes)
    print(f"\n{'hostile text':26}{heads}   1 MB / 1/4 MB (linear: 4)")
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
    measure_linearity(options.rounds)


if __name__ == "__main__":
    main()
