"""`polymode answer`: one question to ranked answers with bars, a decision and its reason."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from polymode.cli.checks import room_for
from polymode.cli.flags import Whole
from polymode.cli.options import DecisionOptions
from polymode.errors import ConfigError
from polymode.policy import Policy, decide
from polymode.policy.claims import claim
from polymode.policy.deciding import equality
from polymode.policy.inputs import screened
from polymode.policy.pooling import pool_sets
from polymode.policy.rationales import supported
from polymode.types import AnswerSet, Decision


@dataclass(frozen=True)
class AnswerQuestion(DecisionOptions):
    """Answer one question with a model: ranked answers with confidences and, with a policy, a decision and its reason.

    A guarantee of the policy is printed where model, prompt, sampling settings and question are like those that it was
    calibrated on; else why it does not hold.

    Examples:
        polymode answer "Name a noble gas." --model Qwen/Qwen3-8B --style full
        polymode answer "..." --model runs/mine/model --policy runs/mine/validation/policy.json
    """

    question: str
    """Text of the question, in quotes."""
    _: KW_ONLY
    model: str
    """Hugging Face model name or folder, for example RUN/model."""
    risk: str = "normal"
    """Class of risk of the question: one of the policy's, without classes normal or high. At high risk no single answer
    is given."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the question, for a policy that tells questions apart by one of them: department=cardiology."""
    seed: Whole = 0
    """Another seed gives another answer; under any of them the same question always gets the same answer, which is also
    that of polymode serve."""
    show_text: bool = False
    """Print the whole completions first."""


BAR = 20
"""Characters of a full bar."""
MIN_TEXT = 12
"""Characters of an answer that are shown in the narrowest terminal."""


def run_answer(options: AnswerQuestion) -> int:
    """Ask the model and print its answers and the decision."""
    from polymode import runs
    from polymode.parsing import parse_answers
    from polymode.prompts import QUESTION, build_prompt, check_k

    if not options.question.strip():
        raise ConfigError("question is empty: write it in quotes after the command")
    policy = None if options.policy is None else runs.read_policy(options.policy)
    rules = (policy or Policy()).rules_for(options.risk, options.meta)
    calibrated_k = None if policy is None else policy.k
    k = check_k(options.k if options.k is not None else calibrated_k or 3)
    if calibrated_k not in (None, k):
        raise ConfigError(
            f"--k {k} does not suit the policy, which was calibrated with k = {calibrated_k}: leave --k out"
        )
    style = options.prompt_style()
    prompt = build_prompt(
        options.question, k, confidence=True, exclusive=options.exclusive, style=style, ask=options.ask()
    )
    generator = options.open_generator(options.model, batch=1, show_progress=False)
    room = room_for(generator, [prompt], k, True, style, options.max_tokens)
    form = build_prompt(QUESTION, k, confidence=True, exclusive=options.exclusive, style=style, ask=options.ask())
    pool = options.pool_for(policy)
    served = options.conditions(options.model, k, [form], style, pool=pool)
    seed: Any = served.seed_for(options.question, options.seed)
    if getattr(generator, "takes_seeds", False):
        seed = [seed]  # so that it is sampled as in a batch of polymode serve
    [generated] = generator.generate([prompt], n=pool, max_tokens=room, temperature=options.temperature, seed=seed)
    for one in generated if options.show_text else ():
        print(printable(one.text, keep_lines=True), end="\n\n")
    sets = [parse_answers(one.text, k, confidence=True, finished=one.is_finished) for one in generated]
    same = equality((policy or Policy()).equality)
    answers = supported(pool_sets(sets, same), options.question, [one.text for one in generated], sets, same)
    if n_cut := sum(not one.is_finished for one in generated):
        which = "the completion is" if pool == 1 else f"{n_cut} of {pool} completions are"
        print(f"note: {which} cut off: raise --max-tokens ({options.max_tokens})", file=sys.stderr)
    decision = decide(answers, policy or Policy(), risk=options.risk, meta=options.meta)
    if policy is not None and options.input_check:
        decision = screened(decision, policy.inputs, options.question)
    width = shutil.get_terminal_size((100, 24)).columns
    block = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    print(render(answers, decision, None if policy is None else rules, width=width, block=block))
    average = f", the average over {pool} completions" if pool > 1 else ""
    print(f"confidence: the probability that the answer {options.meaning_of_confidences()}{average}")
    if policy is not None and policy.promises:
        how: dict[str, Any] = {"served": served, "risk": options.risk, "meta": options.meta}
        guarantee, reason = claim(policy, decision.kind, options.question, **how)
        if guarantee or reason:
            print(f"guarantee: {guarantee}" if guarantee else f"no guarantee: {printable(reason or '')}")
    return 0


def render(answers: AnswerSet, decision: Decision, policy: Policy | None, *, width: int = 100, block: str = "#") -> str:
    """Table of the distinct answers, what is shown marked with ``>``, then the decision and its reason.

    Without a policy only the table means anything. ``width`` is that of the terminal; bars are made of ``block``.
    """
    lines = _table(decision, width, block)
    if not lines:
        lines = [f"no usable answer ({answers.status.value}): {printable(answers.reason)}"]
    elif policy is not None and policy.recalibration is not None:
        lines.append(f"confidences recalibrated ({policy.recalibration.method})")
    if policy is None:
        return "\n".join([*lines, "", "decision: none, as no --policy was given"])
    answer_texts = "; ".join(printable(answer.text) for answer in decision.answers)
    outcome = f"{decision.kind.name}: {answer_texts}" if answer_texts else decision.kind.name
    return "\n".join([*lines, "", shorten(f"decision: {outcome}", width), f"reason: {printable(decision.reason)}"])


def _table(decision: Decision, width: int, block: str) -> list[str]:
    texts = [printable(answer.text) for answer in decision.ranked]
    number = len(str(len(texts)))
    room = max(MIN_TEXT, width - len("> ") - number - len("  ") - len("  0.00  ") - BAR)
    column = min(room, max(map(len, texts), default=0))
    rows: list[str] = []
    for i, (answer, text) in enumerate(zip(decision.ranked, texts, strict=True)):
        mark = ">" if i < len(decision.answers) else " "
        q = answer.confidence or 0.0
        rows.append(
            f"{mark} {i + 1:>{number}}  {shorten(text, column):<{column}}  {q:.2f}  {block * round(q * BAR)}".rstrip()
        )
        if answer.rationale is not None:
            rows.append(shorten(f"{' ' * (number + 4)}supported by: {printable(answer.rationale)}", width))
    return rows


def printable(text: str, *, keep_lines: bool = False) -> str:
    """``text`` without control characters, as one line unless told: a model's text must not steer the terminal."""
    clean = "".join(char if char.isprintable() or (keep_lines and char == "\n") else " " for char in text)
    return clean if keep_lines else " ".join(clean.split())


def shorten(text: str, width: int) -> str:
    """``text`` in at most ``width`` characters."""
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."
