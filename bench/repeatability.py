"""The same question, the same answer: `polymode serve` asked again and again, in ever other company.

    python bench/repeatability.py --model runs/quick/.../model
    python bench/repeatability.py --model MODEL --questions 100 --calls 5 -- --pool 5

Each round asks all questions of the lab's clinic in a random order from a random number of clients at once, so that no
question meets the same neighbours or batch size twice. Reported is how many questions always got the same decision with
the same answers shown, and how many the same candidates with the same confidences.
"""

from __future__ import annotations

import argparse
import asyncio
import random

import httpx2
from serve_load import serving

from polymode.tasks import open_task

MOST_CLIENTS = 24


async def replies(url: str, questions: list[str], clients: int) -> dict[str, dict[str, object]]:
    """The reply to each question."""
    found: dict[str, dict[str, object]] = {}
    waiting = iter(questions)

    async def ask(client: httpx2.AsyncClient) -> None:
        for question in waiting:
            reply = await client.post("/v1/answer-sets", json={"question": question})
            found[question] = reply.raise_for_status().json()

    async with httpx2.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:
        await asyncio.gather(*(ask(client) for _ in range(clients)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a model of the lab's clinic")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("serve", nargs="*", help="further options of polymode serve, behind --")
    options = parser.parse_args()
    rng = random.Random(0)
    questions = [example.question for example in open_task("clinic").examples("test", options.questions)]
    rounds = []
    with serving(options.model, options.serve) as (url, _):
        for number in range(options.calls):
            clients = rng.randint(1, MOST_CLIENTS)
            rounds.append(asyncio.run(replies(url, rng.sample(questions, len(questions)), clients)))
            print(f"round {number + 1}: {clients} clients")
    n_same = [
        sum(len({str([one[question][name] for name in names]) for one in rounds}) == 1 for question in questions)
        for names in (("decision", "answers"), ("candidates",))
    ]
    print(f"{n_same[0]} of {len(questions)} questions had one decision in {options.calls} calls, {n_same[1]} the same")
    print("candidates and confidences in all of them")


if __name__ == "__main__":
    main()
