"""The arrangement of a step's completions: hand-made costs, and that nothing is lost."""

from typing import Any

import torch

from polymode.training.device_batches import arrange


def batches(questions: list[int], lengths: list[int], prompt: int, n: int) -> list[dict[str, Any]]:
    """``n`` batches of rows with these questions and lengths; each row's advantage is its number."""
    ids = torch.tensor(questions)[:, None].expand(-1, prompt)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    rows = torch.arange(len(questions))
    total = torch.tensor(sum(lengths))
    size = len(questions) // n
    return [
        {
            "prompt_ids": ids[start : start + size],
            "prompt_mask": torch.ones_like(ids)[start : start + size],
            "completion_ids": rows[start : start + size, None] + mask[start : start + size],
            "completion_mask": mask[start : start + size],
            "advantages": rows[start : start + size].float(),
            "num_items_in_batch": total,
            "old_per_token_logps": None,
        }
        for start in range(0, len(questions), size)
    ]


def order(found: list[Any]) -> list[list[int]]:
    return [batch["advantages"].int().tolist() for batch in found]


def test_long_prompts_keep_questions_together() -> None:
    """Prompts of 10: by question 2 x 10 + 2 (9 + 8) = 54, by length 4 x 10 + 2 (2 + 9) = 62 tokens."""
    found = arrange(batches([0, 1, 0, 1], [9, 1, 2, 8], 10, 2))
    assert order(found) == [[1, 3], [0, 2]]  # the question with the shorter longest completion comes first


def test_short_prompts_keep_lengths_together() -> None:
    """Prompts of 1: by question 2 + 2 (9 + 8) = 36, by length 4 + 2 (2 + 9) = 26 tokens."""
    found = arrange(batches([0, 1, 0, 1], [9, 1, 2, 8], 1, 2))
    assert order(found) == [[1, 2], [3, 0]]


def test_every_value_follows_its_row() -> None:
    given = batches([2, 0, 1, 0, 2, 1, 0, 1], [3, 1, 4, 1, 5, 2, 6, 3], 4, 4)
    found: list[Any] = arrange(given)
    rows = [row for batch in order(found) for row in batch]
    assert sorted(rows) == list(range(8)) and [len(batch) for batch in order(found)] == [2] * 4
    for name in ("prompt_ids", "completion_ids", "completion_mask", "advantages"):
        assert torch.equal(torch.cat([b[name] for b in found]), torch.cat([b[name] for b in given])[rows])
    assert all(batch["num_items_in_batch"] == 25 and batch["old_per_token_logps"] is None for batch in found)


def test_one_batch_and_what_is_no_tensor_stay() -> None:
    one = batches([0, 1], [1, 2], 3, 1)
    assert arrange(one) == one
    two = [{**batch, "num_images": [1, 1]} for batch in batches([0, 1, 0, 1], [9, 1, 2, 8], 10, 2)]
    assert order(arrange(two)) == [[0, 1], [2, 3]]
