"""Each shell against the signature that its trainer documents; `tests/integrations_real` has the real packages."""

import asyncio
import json
import math
import pickle
import sys
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fastapi import HTTPException
from pydantic import BaseModel

from polymode import reward_of
from polymode.decoding.texts import CompletionDecoder
from polymode.errors import ConfigError, RecordError, UserError
from polymode.integrations import estimators, openrlhf, skyrl, slime, verl
from polymode.integrations.options import Options, references_and_row
from polymode.integrations.token_credit import token_advantages
from polymode.training.lab_model import build_tokenizer

RIGHT = "<answer1>flu</answer1><confidence1>0.5</confidence1><answer2>cold</answer2><confidence2>0</confidence2>"
# One reference of two answers: coverage 1, Brier -(0.25 + 0)/2, format 1.
TOTAL = 1.875
REFERENCES = ["the flu", ["measles", "rubeola"]]


def test_options_are_checked_and_can_be_pickled() -> None:
    rule = Options.from_mapping({"k": 2})
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert rule.score(RIGHT, REFERENCES) == reward_of(RIGHT, REFERENCES, k=2)
    unfit = {"objective": "pass@k", "method": "multi-rlcr"}
    for wrong in ({"kk": 2}, {"method": "ppo"}, {"preset": "best"}, {"exploration": "historical"}, unfit):
        with pytest.raises(ConfigError) as caught:
            Options.from_mapping(wrong)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("flu", ("flu", {})),
        ('["flu", "cold"]', ('["flu", "cold"]', {})),
        ('{"references": ["flu"], "k": 2}', (["flu"], {"k": 2})),
        ({"references": [], "question": "?"}, ([], {"question": "?"})),
        (["flu"], (["flu"], {})),
        ("{not json", ("{not json", {})),
        (None, (None, {})),
    ],
)
def test_labels(label: Any, expected: Any) -> None:
    assert references_and_row(label) == expected


# --- verl ---------------------------------------------------------------------------------------------------------


def compute(text: str, truth: Any, **options: Any) -> dict[str, float]:
    return asyncio.run(verl.compute_score("my/data", text, truth, {"k": 2, "num_turns": None}, **options))


def test_verl_gets_the_total_and_every_term() -> None:
    numbers = compute(RIGHT, np.array(["the flu", "measles"], dtype=object), reward_router_address="host:1")
    assert numbers == {"score": TOTAL, "coverage": 1, "brier": -0.125, "format": 1, "clean": 1, "scored": 1, "found": 1}
    assert compute("nothing", ["flu"]).keys() == numbers.keys()
    assert compute("nothing", ["flu"])["score"] == 0
    with pytest.raises(RecordError, match="None is missing"):
        compute(RIGHT, None)
    with pytest.raises(ConfigError, match="kk = 3 is no option"):
        compute(RIGHT, ["flu"], kk=3)


class Failing:
    """Cannot decide about anything."""

    def same(self, a: str, b: str) -> bool:
        return a == b

    def matches(self, answer: str, reference: Any) -> bool:
        raise TimeoutError("too slow")


def test_what_no_verifier_could_judge() -> None:
    name = f"{__name__}:Failing"
    sys.modules.setdefault(__name__, sys.modules[Failing.__module__])
    assert compute(RIGHT, ["flu"], verifier=name)["scored"] == 0
    assert math.isnan(compute(RIGHT, ["flu"], verifier=name, unscored=math.nan)["score"])


def test_estimators() -> None:
    rewards = torch.tensor([[0, 0, 1.0], [0, 2.0, 1.0], [0, 0, 5.0], [0, 0, math.nan]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]])
    uid = np.array(["a", "a", "b", "a"], dtype=object)
    advantages, returns = estimators.centered(rewards, mask, index=uid, config=None, reward_baselines=None)
    # Group a: 1 and 3, mean 2; b is alone; the last is unscored.
    assert advantages.tolist() == returns.tolist() == [[-1] * 3, [1] * 3, [0] * 3, [0] * 3]
    with pytest.raises(ConfigError, match="index is missing"):
        estimators.centered(rewards, mask)


def test_pass_at_k_of_totals() -> None:
    # multi-rlvr: malformed 0, clean and wrong 1, clean with two references 3.
    rewards, mask = torch.tensor([[0.0], [1.0], [3.0]]), torch.ones(3, 1)
    advantages, _ = estimators.pass_at_k(rewards, mask, index=np.array([7, 7, 7]), config={"polymode_k": 2})
    # A wrong one is in two pairs, one with the right one: 1/2; with the format 0.5, 1.5 and 2, mean 4/3.
    assert advantages[:, 0].tolist() == pytest.approx([0.5 - 4 / 3, 1.5 - 4 / 3, 2 - 4 / 3])


def test_coverage_at_k_needs_the_references_found() -> None:
    rewards, mask, uid = torch.tensor([[3.0], [2.0], [1.0]]), torch.ones(3, 1), np.array(["a"] * 3)
    with estimators.columns_of_batch({"found": [0b11, 0b01, 0]}):
        advantages, _ = estimators.coverage_at_k(rewards, mask, uid, {"polymode_k": 2})
    # Pairs find 2, 2 and 1: means 2, 1.5, 1.5, format 1 each; mean of 3, 2.5 and 2.5 is 8/3.
    assert advantages[:, 0].tolist() == pytest.approx([3 - 8 / 3, 2.5 - 8 / 3, 2.5 - 8 / 3])
    with pytest.raises(ConfigError, match="does not see the column 'found'"):
        estimators.coverage_at_k(rewards, mask, uid)


def test_credit_by_term_gives_each_token_its_own() -> None:
    rewards, mask = torch.zeros(2, 3), torch.tensor([[1, 1, 1], [1, 0, 0]])
    with estimators.columns_of_batch({"advantages": [[1.0, -1.0, 0.5], [-2.0, 4.0]]}):  # 4: a token that is masked
        advantages, returns = estimators.term(rewards, mask)
    assert advantages.tolist() == returns.tolist() == [[1, -1, 0.5], [-2, 0, 0]]
    with pytest.raises(ConfigError, match="does not see the column 'advantages'"):
        estimators.term(rewards, mask)


# --- slime --------------------------------------------------------------------------------------------------------


class Status(Enum):
    COMPLETED = "completed"
    TRUNCATED = "truncated"


def sample(response: str, group: int, **options: Any) -> SimpleNamespace:
    fields = {"label": json.dumps(REFERENCES), "metadata": {"k": 2}, "status": Status.COMPLETED, "train_metadata": None}
    return SimpleNamespace(response=response, group_index=group, **{**fields, **options})


def test_slime_scores_one_and_groups() -> None:
    args = SimpleNamespace()
    one = sample(RIGHT, 0)
    assert asyncio.run(slime.custom_rm(args, one)) == TOTAL
    assert one.metadata["polymode"]["brier"] == -0.125
    right, wrong = (
        "".join(f"<answer{i}>{one}</answer{i}>" for i, one in ((1, name), (2, "cold"))) for name in ("flu", "x")
    )
    args.polymode = {"method": "multi-rlvr", "objective": "pass@k", "exploration": "batch", "exploration_weight": 0.0}
    samples = [sample(text, 0) for text in (right, wrong, wrong)]
    samples += [sample(right, 1), sample("<think>", 1, status=Status.TRUNCATED)]
    # Of the two pairs that the right one is in, both succeed; each wrong one is in one pair that does. Format 1 each.
    assert asyncio.run(slime.batched_custom_rm(args, samples)) == [2, 1.5, 1.5, 2, 1]
    assert samples[0].metadata["polymode"].keys() >= {"coverage", "format", "exploration"}
    with pytest.raises(ConfigError, match="objective = 'pass@k' needs whole groups"):
        asyncio.run(slime.custom_rm(args, samples[0]))
    with pytest.raises(RecordError, match="None is missing"):
        asyncio.run(slime.custom_rm(SimpleNamespace(), sample(RIGHT, 0, label=None)))


def test_credit_of_tokens_does_not_depend_on_the_order_of_the_rows() -> None:
    wrong = RIGHT.replace("flu", "gout")
    texts, groups = [RIGHT, wrong, wrong, wrong], ["a", "a", "b", "b"]
    tokenizer = build_tokenizer(texts)
    rule, decode = Options(k=2), CompletionDecoder(tokenizer)

    def credits(order: list[int]) -> list[list[float]]:
        own = [texts[i] for i in order]
        scores = [rule.score(text, REFERENCES) for text in own]
        ids = [tokenizer(text)["input_ids"] for text in own]
        return token_advantages(rule, scores, own, ids, [groups[i] for i in order], 2, decode)

    together, mixed = credits([0, 1, 2, 3]), credits([0, 2, 1, 3])
    assert [mixed[i] for i in (0, 2, 1, 3)] == together
    assert any(together[0]) and any(together[1]) and not any(together[2] + together[3])  # the second group is of equals


def test_slime_credits_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = RIGHT.replace("flu", "gout")
    tokenizer = build_tokenizer([RIGHT, wrong])
    monkeypatch.setattr(slime, "_tokenizer", lambda args: tokenizer)
    args = SimpleNamespace(polymode={"credit": "term"}, n_samples_per_prompt=2, hf_checkpoint="")
    samples = []
    for text in (RIGHT, wrong):
        ids = tokenizer(text)["input_ids"]
        reward = reward_of(text, REFERENCES, k=2).total
        samples.append(sample(text, 0, tokens=[1, 1, *ids], response_length=len(ids), reward=reward))
    raw, centred = slime.post_process_rewards(args, samples)
    assert (raw, centred) == ([TOTAL, 0.875], [0.5, -0.5])
    rows = [row.train_metadata for row in samples]
    kl = [torch.zeros(row.response_length) for row in samples]
    data = {"kl": kl, "rewards": centred, "metadata": rows}
    slime.advantages(args, data)
    first, second = data["advantages"]
    # The first answer's tokens are better than those of the other completion; the second answers are the same.
    assert first[0] > 0 > second[0] and first[0] == -second[0]
    assert len(set(first.tolist())) > 1
    data = {"kl": kl, "rewards": centred}
    slime.advantages(args, data)
    assert set(data["advantages"][0].tolist()) == {0.5}
    with pytest.raises(ConfigError, match="context-parallel-size 1"):
        slime.advantages(args, {"kl": [torch.zeros(2)] * 2, "rewards": centred, "metadata": rows})


# --- OpenRLHF, SkyRL, NeMo Gym ------------------------------------------------------------------------------------


def test_openrlhf() -> None:
    reward_func = openrlhf.make_reward_func(k=2)
    queries = [f"Which?\n{RIGHT}<|im_end|>\n", "Which?\nnothing</s>"]
    result = reward_func(queries, ["Which?\n"] * 2, [json.dumps({"references": REFERENCES}), "flu"], info=None)
    assert result["rewards"].tolist() == result["scores"].tolist() == [TOTAL, 0]
    assert result["extra_logs"]["brier"].tolist() == [-0.125, 0]
    with pytest.raises(RecordError, match="does not begin with its prompt"):
        reward_func(["x"], ["y"], ["flu"])
    with pytest.raises(UserError, match="None is missing"):
        reward_func([RIGHT], [""], [None])


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """A module of that name, with its parents."""
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:i]), ModuleType(".".join(parts[:i])))
    for key, value in members.items():
        setattr(sys.modules[name], key, value)


def test_skyrl_and_verl_find_the_estimators(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: dict[str, Any] = {}
    methods = {"list_available": staticmethod(lambda: list(registry)), "register": staticmethod(registry.__setitem__)}
    names = type("AdvantageEstimatorRegistry", (), methods)
    stand_in(monkeypatch, "skyrl.backends.skyrl_train.utils.ppo_utils", AdvantageEstimatorRegistry=names)
    skyrl.register()
    skyrl.register()
    assert registry == estimators.ESTIMATORS
    of_verl: dict[str, Any] = {}
    register = lambda name: lambda f: of_verl.setdefault(name, f)  # noqa: E731
    stand_in(monkeypatch, "verl.trainer.ppo.core_algos", register_adv_est=register)
    verl.register()
    assert of_verl == estimators.ESTIMATORS


def test_nemo_gym_returns_the_components(monkeypatch: pytest.MonkeyPatch) -> None:
    class Request(BaseModel):
        response: Any

    class Response(Request):
        reward: float

    class Server(BaseModel):
        config: Any

    stand_in(
        monkeypatch,
        "nemo_gym.base_resources_server",
        BaseResourcesServerConfig=BaseModel,
        BaseVerifyRequest=Request,
        BaseVerifyResponse=Response,
        SimpleResourcesServer=Server,
    )
    monkeypatch.delitem(sys.modules, "polymode.integrations.nemo_gym", raising=False)
    from polymode.integrations import nemo_gym

    monkeypatch.delitem(sys.modules, "polymode.integrations.nemo_gym")
    part = SimpleNamespace(type="output_text", text=RIGHT)
    message = SimpleNamespace(type="message", content=[part])
    server = nemo_gym.PolymodeResourcesServer(config=nemo_gym.PolymodeServerConfig(polymode={"k": 2}))

    def verify(output: list[Any], references: Any = REFERENCES) -> Any:
        response = SimpleNamespace(output=output)
        return asyncio.run(server.verify(nemo_gym.PolymodeVerifyRequest(response=response, references=references)))

    result = verify([message])
    assert result.reward == sum(result.reward_components.values()) == TOTAL
    assert verify([message, SimpleNamespace(type="function_call")]).reward == 0
    with pytest.raises(ValueError, match="kk = 2 is no option"):
        nemo_gym.PolymodeServerConfig(polymode={"kk": 2})
    with pytest.raises(HTTPException, match="5 is not a reference") as caught:
        verify([message], [5])
    assert caught.value.status_code == 422


def test_one_verifier_serves_all_completions() -> None:
    """A slow one has processes of its own."""
    rule = Options(k=1, method="single-rlvr", verifier="symbolic")
    assert rule._verifier() is Options(k=3, verifier="symbolic")._verifier()


def test_credit_of_slime_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slime, "_tokenizer", lambda args: build_tokenizer([RIGHT]))
    samples = [sample(RIGHT, 0, reward=reward, tokens=[1], response_length=1) for reward in (1.0, 0.0)]
    for settings, text in (
        ({"credit": "trem"}, "credit = 'trem' is not known"),
        ({"credit": "term", "preset": "released"}, "use preset 'paper'"),
        ({"credit": "term"}, r"whole groups of 4 completions: there are groups of \[2\]"),
    ):
        args = SimpleNamespace(polymode=settings, n_samples_per_prompt=4)
        with pytest.raises(ConfigError, match=text):
            slime.post_process_rewards(args, samples)
