"""`polymode calibrate`: from judged questions to a policy file, or from new labels to whether one still holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from polymode.cli.flags import FLAGS_OF, SomeCount
from polymode.cli.options import SamplingOptions
from polymode.errors import ConfigError
from polymode.policy import Conditions
from polymode.policy.calibration import Calibration


@dataclass(frozen=True)
class Calibrate(SamplingOptions):
    r"""Choose the thresholds of a policy on judged questions, with a guarantee for later questions.

    - answer: at most a share alpha of the single answers given is wrong.
    - set: at most a share alpha of the sets offered contains no right answer.
    - both: the two together.
    - conformal: every question gets a set, and the share alpha holds only on average.

    The first three hold with probability 1 - delta; questions below the threshold are escalated. The questions must
    come from the same distribution as the later ones, and must not have been used for training or model selection.

    With --by, each group of questions (a class of risk, or any field of meta) gets thresholds and guarantees of its
    own, which hold together with probability 1 - delta. With --check, a policy is tested on new labels instead; the
    exit code is 1 when a guarantee is shown not to hold.

    The policy belongs to the model, prompt and settings that made the completions, as the run folder records them; for
    completions of other programs --model and the options beside it state them.

    Examples:
        # answer sets, at most 1 in 10 without a right answer
        polymode calibrate runs/mine/validation
        # single answers, at most 1 in 20 wrong
        polymode calibrate runs/mine/validation --target answer --alpha 0.05
        polymode calibrate runs/mine/validation --recalibrate isotonic --out policy.json
        # thresholds for each class of risk, stricter ones for one of them
        polymode calibrate runs/mine/validation --by risk --groups high:alpha=0.02 high:target=set
        # does it still hold?
        polymode calibrate runs/mine/fresh --check policy.json
        # again on the random share that people reviewed in service
        polymode calibrate reviewed/judged.jsonl --like policy.json --out policy-2.json
        # completions of a model behind a server, sampled by another program
        polymode calibrate answers/judged.jsonl --model MODEL --style full --task records \
            --backend openai --backend-options base_url=http://localhost:8000/v1
    """

    judged: Path
    """A judged.jsonl file (polymode evaluate writes it), or a folder that contains one."""
    _: KW_ONLY
    out: Path | None = None
    """Policy file to write; by default policy.json beside judged.jsonl. An earlier one is replaced."""
    check: Path | None = None
    """Policy file to test on these labels; nothing is written."""
    pool: SomeCount = None
    """Completions of each question that are pooled into one set, as polymode serve --pool does; by default as many as
    polymode evaluate --pool pooled."""
    by: str = ""
    """Field that tells groups of questions apart: risk, or another field of meta."""
    groups: tuple[str, ...] = ()
    """With --by, what differs in a group, as GROUP:NAME=VALUE: target, alpha, alpha_answer, alpha_set, abstain_below,
    max_effective, when_malformed. Groups named here come first in a fixed sequence."""
    like: Path | None = None
    """For reviews of questions in service (polymode reviews --judged): the policy that the server decided with, whose
    model, prompt and settings made these answers, if the server claimed guarantees."""
    model: str | None = None
    """Model that made the completions, where the run folder does not record it; then the options of prompt and
    back-end count as well."""
    exclusive: bool = False
    """With --model: the prompt stated that at most one answer is right (style full)."""
    calibration: dict[str, Any] = field(default_factory=dict, metadata={FLAGS_OF: Calibration})
    """Options of the fit."""
    abstain_below: float = 0.0
    """ABSTAIN when the confidences of all answers add up to less than this."""
    max_effective: float | None = None
    """ESCALATE when the effective number of answers, exp(entropy of the confidences), is above this."""
    malformed: Literal["escalate", "abstain"] = "escalate"
    """Decision for a malformed completion."""
    equality: Literal["text", "exact"] = "text"
    """When two answers count as the same: equal normalised texts, or exactly equal (programs)."""


def run_calibrate(options: Calibrate) -> int:
    """Fit a policy, write it, and print its guarantee; or check one."""
    from polymode import runs
    from polymode.calibrate import calibrate, check_policy, summary
    from polymode.policy import Policy

    if options.check is not None:
        if others := sorted(set(options.calibration) - {"delta"}):
            raise ConfigError(f"--{others[0].replace('_', '-')} does not go with --check: the policy is as it is")
        if options.pool is not None:
            raise ConfigError("--pool does not go with --check: the policy says what its sets are pooled from")
        policy = runs.read_policy(options.check)
        result = check_policy(policy, options.judged, conditions=_stated(options), **options.calibration)
        print(result)
        return int(result.is_broken)
    groups = groups_from(options.groups)
    if groups and not options.by:
        raise ConfigError("--groups needs --by, the field that tells them apart, for example --by risk")
    policy, judged = calibrate(
        options.judged,
        Calibration(**options.calibration),
        rules=Policy(
            when_malformed=options.malformed,
            abstain_below=options.abstain_below,
            max_effective=options.max_effective,
            equality=options.equality,
        ),
        by=options.by,
        groups=groups,
        date=datetime.now(UTC).date().isoformat(),
        conditions=_stated(options),
        pool=options.pool,
    )
    folder = options.judged if options.judged.is_dir() else options.judged.parent
    out = options.out or folder / runs.POLICY
    runs.write_policy(out, policy)
    print(summary(policy, judged))
    print(f"policy: {out}")
    return 0


def groups_from(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``GROUP:NAME=VALUE`` texts as options by group; raises ConfigError for another form."""
    groups: dict[str, dict[str, Any]] = {}
    for text in texts:
        head, equals, value = text.rpartition("=")
        name, colon, option = head.rpartition(":")
        if not (equals and colon and name and option):
            raise ConfigError(f"--groups {text!r} is not allowed: write GROUP:NAME=VALUE, for example high:alpha=0.02")
        groups.setdefault(name, {})[option] = yaml.safe_load(value)
    return groups


def _stated(options: Calibrate) -> Conditions | None:
    """What made the completions, as the flags say; None where they do not."""
    from polymode import runs
    from polymode.prompts import QUESTION, build_prompt

    if options.like is not None:
        return _of_service(options, options.like)
    if options.model is None:
        return None
    options.check_backend(options.model)
    style, judged = options.prompt_style(), runs.judged_path(options.judged)
    k = next((line.judged.k for line in runs.judged_lines(judged)), None)
    if k is None:
        return None  # which the calibration refuses
    form = build_prompt(QUESTION, k, confidence=True, exclusive=options.exclusive, style=style, ask=options.ask())
    return options.conditions(options.model, k, [form], style)


def _of_service(options: Calibrate, like: Path) -> Conditions:
    """What the answers of a server were made with: what its policy was calibrated on."""
    from polymode import runs

    if options.model is not None:
        raise ConfigError("--model does not go with --like: the policy says which model it was")
    policy = runs.read_policy(like)
    if policy.conditions is None:
        raise ConfigError(f"--like {like}: the policy does not record what it was calibrated on; use --model")
    rows = runs.read_jsonl(runs.judged_path(options.judged))
    policy_ids = {str((row.get("review") or {}).get("policy_id") or "another way") for row in rows}
    if policy_ids != {policy.digest()}:
        others = ", ".join(sorted(policy_ids - {policy.digest()}))
        raise ConfigError(f"--like {like} is policy {policy.digest()}, but answers were decided by {others}: name that")
    return replace(policy.conditions, questions=None, inputs=None, reference=None)
