"""Names of recipe options: what version 0.1.0 called them, and where TRL's options that stand elsewhere belong.

Where an option means exactly what one of TRL means, it has TRL's name. TRL's other options are given under ``trl:``
(`polymode.training.trl_options`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from polymode.errors import ConfigError


class RenamedOptionWarning(FutureWarning):
    """An option is given by the name that it had in version 0.1.0."""


OLD_NAMES: Mapping[str, str] = {
    "steps": "max_steps",
    "group": "num_generations",
    "schedule": "lr_scheduler_type",
    "warmup_share": "warmup_steps",
    "max_completion_tokens": "max_completion_length",
    "loss": "loss_type",
    "clip": "epsilon",
    "kl": "beta",
    "vllm": "use_vllm",
    "vllm_memory": "vllm_gpu_memory_utilization",
    "save_every": "save_steps",
    "keep_checkpoints": "save_total_limit",
    "lora_rank": "lora: {r: ...}",
    "lora_alpha": "lora: {lora_alpha: ...}",
}
"""Options of version 0.1.0 and what they are called now. They are read until version 0.3.0."""

_ELSEWHERE: Mapping[str, str] = {
    "model_name_or_path": "here it is called model",
    "dataset_name": "here it is task: records with data: NAME",
    "reward_funcs": "the reward is chosen by method, preset and terms",
    "use_peft": "here it is lora: {r: 16}",
    "lora_r": "here it is lora: {r: ...}",
    "lora_dropout": "here it is lora: {lora_dropout: ...}",
    "lora_target_modules": "here it is lora: {target_modules: ...}",
}
"""Options of TRL's trainer and command line that have another name, or another place, in a recipe."""


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options by today's names.

    Raises:
        ConfigError: an option under both names.
    """
    out = {name: value for name, value in values.items() if name not in OLD_NAMES}
    rank = values.get("lora_rank")
    if rank:
        out["lora"] = {"r": rank, "lora_alpha": values.get("lora_alpha", 32)}
    for old in OLD_NAMES.keys() & values.keys() - {"lora_rank", "lora_alpha"}:
        if OLD_NAMES[old] in values:
            raise ConfigError(f"{old} is what {OLD_NAMES[old]} was called before: give {OLD_NAMES[old]} alone")
        out[OLD_NAMES[old]] = values[old]
    return out


def warn_of_old_names(names: Iterable[str], where: str) -> None:
    """One warning for all old names among the options; `RenamedOptionWarning`."""
    old = [name for name in OLD_NAMES if name in set(names)]
    if old:
        now = ", ".join(f"{name} -> {OLD_NAMES[name]}" for name in old)
        warnings.warn(f"{where}: options have new names, rename them: {now}", RenamedOptionWarning, stacklevel=3)


def unknown_option(name: str, options: Iterable[str]) -> str:
    """What to do about an option that a recipe does not have, in one line."""
    from polymode.training.trl_options import RESERVED, trl_fields

    if name in OLD_NAMES:
        return f"option {name!r} is called {OLD_NAMES[name]} now"
    if reason := _ELSEWHERE.get(name) or RESERVED.get(name):
        return f"option {name!r} is not known: {reason}"
    if name in trl_fields():
        return f"option {name!r} of TRL belongs under trl: write trl: {{{name}: ...}}"
    return f"unknown option {name!r}{suggestion(name, options)}"


def suggestion(name: str, options: Iterable[str]) -> str:
    """The options that look like ``name``, else all of them, to stand behind a message."""
    names = sorted(options)
    close = get_close_matches(name, names, n=2)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(names)}"
