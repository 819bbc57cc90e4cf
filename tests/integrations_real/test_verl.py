"""verl's own code on a local Ray cluster without a GPU: its reward loop, its advantages, its trainer and queue."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode import Shaping, rewards_of
from polymode.credit import centred_by_group, term_advantages, token_parts
from polymode.evaluation.ray_engine import start_cluster
from polymode.rewards import METHODS
from polymode.rewards.slots import slot_scores

from .packages import package
from .shared_completions import GROUP, METHOD, K, N, check_totals, expected, groups, rows

ray = package("ray", "verl")
verl = package("verl", "verl")
OmegaConf, open_dict = (getattr(package("omegaconf", "verl"), name) for name in ("OmegaConf", "open_dict"))
CONFIGS = Path(__file__).resolve().parents[2] / "examples/verl"
TEXTS, REFERENCES = zip(*rows(), strict=True)


def tiny_model(folder: Path) -> Path:
    """A random model with a tokenizer of bytes, which gives every text back as it was."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from polymode.training.lab_model import LabModelSize, build_model

    pieces = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    build_model(fast, LabModelSize(hidden=16, layers=1, heads=2, intermediate=32), seed=0).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The configuration that the documentation names, with a tiny model."""
    from hydra import compose, initialize_config_dir  # pyright: ignore[reportMissingImports]

    folder = tiny_model(tmp_path_factory.mktemp("verl"))
    overrides = [
        f"actor_rollout_ref.model.path={folder}",
        f"actor_rollout_ref.rollout.n={GROUP}",
        "reward.num_workers=2",
    ]
    with initialize_config_dir(config_dir=str(CONFIGS), version_base=None):
        return compose("polymode", overrides=overrides)


@pytest.fixture(scope="module")
def tokenizer(config: Any) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    # verl's actors ask for more CPUs than a small machine has, and use little of them.
    options = {"address": "local", "num_cpus": 16, "include_dashboard": False, "log_to_driver": False}
    start_cluster(ray, options)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def batch(config: Any, tokenizer: Any) -> Any:
    """The shared completions as verl's rollouts leave them: one-token prompts, responses padded on the right."""
    import torch

    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    width = max(map(len, ids))
    responses = torch.tensor([own + [tokenizer.pad_token_id] * (width - len(own)) for own in ids])
    mask = torch.tensor([[1] * len(own) + [0] * (width - len(own)) for own in ids])
    ones = torch.ones(N, 1, dtype=torch.long)
    truths = np.array([{"style": "rule", "ground_truth": names} for names in REFERENCES], dtype=object)
    return verl.DataProto.from_dict(
        tensors={
            "prompts": ones,
            "responses": responses,
            "attention_mask": torch.cat([ones, mask], dim=1),
            "response_mask": mask,
        },
        non_tensors={
            "data_source": np.array(["shared"] * N, dtype=object),
            "reward_model": truths,
            "extra_info": np.array([{} for _ in range(N)], dtype=object),
            "uid": np.array([f"q{group}" for group in groups()], dtype=object),
        },
    )


@pytest.fixture(scope="module")
def rewarded(config: Any, cluster: None, batch: Any) -> Any:
    """What verl's reward loop makes of them, in two Ray actors."""
    from verl.experimental.reward_loop import RewardLoopManager  # pyright: ignore[reportMissingImports]

    return RewardLoopManager(config).compute_rm_score(batch)


def test_import_finds_the_estimators() -> None:
    """By the entry point, without an import of polymode."""
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY  # pyright: ignore[reportMissingImports]

    names = {"polymode_centered", "polymode_pass_at_k", "polymode_coverage_at_k", "polymode_term"}
    assert names <= ADV_ESTIMATOR_REGISTRY.keys()


def test_reward_loop_names_every_term(rewarded: Any) -> None:
    assert set(rewarded.meta_info["reward_extra_keys"]) == {
        *("score", "coverage", "brier", "format", "clean", "scored", "found")
    }
    terms = sum(rewarded.non_tensor_batch[name] for name in ("coverage", "brier", "format"))
    assert terms == pytest.approx(rewarded.non_tensor_batch["score"])


def test_totals(rewarded: Any) -> None:
    check_totals("verl", rewarded.batch["rm_scores"].sum(-1).tolist())


def advantages_by_verl(config: Any, batch: Any, rewards: Any, name: str, k: int = 2) -> Any:
    from verl.trainer.ppo.ray_trainer import compute_advantage  # pyright: ignore[reportMissingImports]

    algorithm = OmegaConf.create(OmegaConf.to_container(config.algorithm))
    with open_dict(algorithm):
        algorithm.polymode_k = k
    data = verl.DataProto.from_dict(
        tensors={"response_mask": batch.batch["response_mask"], "token_level_rewards": rewards},
        non_tensors={"uid": batch.non_tensor_batch["uid"]},
    )
    return compute_advantage(data, name, config=algorithm).batch["advantages"]


def test_estimator_centres_in_compute_advantage(config: Any, batch: Any, rewarded: Any) -> None:
    rewards, mask = rewarded.batch["rm_scores"], batch.batch["response_mask"]
    advantages = advantages_by_verl(config, batch, rewards, "polymode_centered")
    centred = centred_by_group(expected(), groups())
    assert advantages[:, 0].numpy() == pytest.approx(centred, abs=1e-5)
    assert (advantages == advantages[:, :1] * mask).all()


PLAIN = [re.sub(r"<confidence\d>[^<]*</confidence\d>", "", text) for text in TEXTS]
"""Without confidences, which the objectives of groups go without."""


def centred_by(objective: str, k: int) -> Any:
    """Advantages of an objective, by polymode's batch form."""
    shaping = Shaping(objective=objective, objective_k=k)  # type: ignore[arg-type]
    scores = rewards_of(PLAIN, list(REFERENCES), k=K, method="multi-rlvr", shaping=shaping, groups=groups())
    centred = centred_by_group([score.total for score in scores], groups())
    assert centred.std() > 0.1
    return pytest.approx(centred, abs=1e-5)


@pytest.fixture(scope="module")
def plain() -> list[dict[str, float]]:
    """What `compute_score` gives for the completions without confidences."""
    from polymode.integrations.verl import compute_score

    async def scored() -> list[dict[str, float]]:
        pairs = zip(PLAIN, REFERENCES, strict=True)
        return [await compute_score("shared", text, names, k=K, method="multi-rlvr") for text, names in pairs]

    return asyncio.run(scored())


def test_estimator_of_pass_at_k(config: Any, batch: Any, plain: list[dict[str, float]]) -> None:
    import torch

    rewards = torch.zeros(batch.batch["responses"].shape)
    rewards[:, 0] = torch.tensor([row["score"] for row in plain])
    advantages = advantages_by_verl(config, batch, rewards, "polymode_pass_at_k", 4)
    assert advantages[:, 0].numpy() == centred_by("pass@k", 4)


# --- what polymode's trainer adds ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def queue(cluster: None, config: Any) -> Iterator[Any]:
    import transfer_queue as tq  # pyright: ignore[reportMissingImports]

    tq.init(config.transfer_queue)
    yield tq
    tq.close()


ORDER = np.random.default_rng(0).permutation(N)
"""Of the rows in the queue: verl balances lengths over processes, so that groups do not stay together."""


def rows_in_queue(tq: Any, batch: Any, name: str, results: Sequence[Mapping[str, float]]) -> Any:
    """Rollouts of verl's agent loop in its queue, one a row, and a row that fills a batch up."""
    import torch
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict  # pyright: ignore[reportMissingImports]

    fields = []
    for row in ORDER:
        length = int(batch.batch["response_mask"][row].sum())
        rewards = torch.zeros(length)
        rewards[-1] = results[row]["score"]
        fields.append(
            {
                "responses": batch.batch["responses"][row, :length].clone(),
                "response_mask": batch.batch["response_mask"][row, :length].clone(),
                "rm_scores": rewards,
                "old_log_probs": rewards * 0,
                "extra_fields": {"reward_extra_info": dict(results[row])},
                **{key: batch.non_tensor_batch[key][row] for key in ("uid", "reward_model", "extra_info")},
            }
        )
    one, none = torch.ones(1, dtype=torch.long), torch.zeros(1)
    filler = {"responses": one, "response_mask": 0 * one, "rm_scores": none, "old_log_probs": none, "uid": "pad"}
    fields.append({**fields[0], **filler})
    keys = [f"{batch.non_tensor_batch['uid'][row]}_{row % GROUP}_0" for row in ORDER] + ["pad_0_0"]
    tags: list[dict[str, Any]] = [{"status": "success"}] * N + [{"is_padding": True}]
    tq.kv_batch_put(keys=keys, fields=list_of_dict_to_tensordict(fields), tags=tags, partition_id=name)
    return tq.KVBatchMeta(keys=keys, tags=tags, partition_id=name)


def advantages_by_trainer(config: Any, tokenizer: Any, tq: Any, rows: Any, estimator: str) -> list[Any]:
    """Those of each token, of the shared completions in their order."""
    from verl.trainer.ppo.v1 import get_trainer_cls  # pyright: ignore[reportMissingImports]

    import polymode.integrations.verl_trainer  # noqa: F401, registers it

    trainer = object.__new__(get_trainer_cls(config.trainer.v1.trainer_mode))  # a whole one needs a server of its model
    trainer.config, trainer.tokenizer = config, tokenizer
    config.algorithm.adv_estimator = estimator
    trainer._compute_advantage(rows, {})
    data = tq.kv_batch_get(keys=rows.keys, partition_id=rows.partition_id, select_fields=["advantages"])
    *in_order, filler = data["advantages"].unbind()
    assert filler.tolist() == [0]
    return [in_order[place].tolist() for place in np.argsort(ORDER)]


def test_estimator_of_coverage_at_k_in_the_trainer(
    config: Any, tokenizer: Any, queue: Any, batch: Any, plain: list[dict[str, float]]
) -> None:
    queued = rows_in_queue(queue, batch, "coverage", plain)
    with open_dict(config):
        config.algorithm.polymode_k = 3
    advantages = advantages_by_trainer(config, tokenizer, queue, queued, "polymode_coverage_at_k")
    assert [own[0] for own in advantages] == centred_by("coverage@k", 3)


def test_estimator_credits_terms_in_the_trainer(config: Any, tokenizer: Any, queue: Any, batch: Any) -> None:
    queued = rows_in_queue(queue, batch, "term", [{"score": total} for total in expected()])
    advantages = advantages_by_trainer(config, tokenizer, queue, queued, "polymode_term")
    scores = rewards_of(list(TEXTS), list(REFERENCES), k=K, method=METHOD)
    parts = term_advantages(slot_scores(scores, METHODS[METHOD].reward("paper"), K), GROUP)
    for text, score, own, parts_of_row in zip(TEXTS, scores, advantages, parts, strict=True):
        # Where tokens start, as the tokenizer says when it reads the text.
        starts = [a for a, _ in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping]
        assert own == pytest.approx(parts_of_row[token_parts(score.answer_set, text, starts, K)], abs=1e-5)
