"""A trained model as a folder to publish: whole weights, the recipe, and a card with what was measured (layer L5)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from polymode import runs
from polymode.errors import RunExistsError, RunIncompleteError, WriteError
from polymode.fingerprints import model_fingerprint
from polymode.publish.cards import NOT_STATED, card, metrics_section, model_index

MODEL = "model"
_FILES = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*", "config.json", "generation_config.json")
_FILES += ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "spiece.model")
_FILES += ("chat_template.jinja", "polymode_chat.json", "adapter_config.json")
"""What a model is used with. Not among them: training_args.bin, which is a pickle and names folders of this machine."""
_PATHS = ("data", "model", "verifier_options", "task_options")


def package_model(
    source: Path, out: Path, *, name: str = "", evaluations: Sequence[Path] = (), base: str = "", license: str = ""
) -> Path:
    """Make the folder of a model: adapters are merged into their base, files of training are left out.

    Args:
        source: run folder of a training, or a model's folder.
        out: folder to create.
        name: title of the card; the name of ``out`` when empty.
        evaluations: folders with a metrics.json of this model.
        base: the base of adapters, where it has moved.
        license: of the weights, by the hub's name for it.

    Raises:
        RunIncompleteError: there is no trained model, or an evaluation is missing.
        RunExistsError: ``out`` holds something.
        ConfigError: the base of adapters is missing or another model.
        WriteError: it cannot be written.
    """
    folder = model_in(source)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunExistsError(f"{out} is there already: choose another --out, or remove it")
    measured = {str(path.name or path): runs.read_metrics(path) for path in evaluations}
    recipe = _recipe_of(source, folder)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        if (folder / "adapter_config.json").is_file():
            from polymode.decoding.adapters import merge

            merge(folder, part, base=base or None)
            if (folder / "polymode_chat.json").is_file():
                shutil.copy2(folder / "polymode_chat.json", part)
        else:
            part.mkdir(parents=True)
            for file in sorted({file for pattern in _FILES for file in folder.glob(pattern)}):
                shutil.copy2(file, part)
        title = name or out.name
        text = _card(title, folder, part, recipe, measured, license)
        (part / "README.md").write_text(text, encoding="utf-8", errors="backslashreplace")
        if recipe:
            (part / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
        if out.exists():
            out.rmdir()
        part.rename(out)
    except OSError as exc:
        if isinstance(exc, RunExistsError):
            raise
        raise WriteError(f"{out} cannot be written: {exc.strerror or exc}; free space or choose another --out") from exc
    return out


def model_in(source: Path) -> Path:
    """The folder with weights that ``source`` names, itself or as the run above it; raises RunIncompleteError."""
    for folder in (source / MODEL, source):
        is_described = any((folder / file).is_file() for file in ("config.json", "adapter_config.json"))
        has_weights = any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "pytorch_model*.bin"))
        if is_described and has_weights:
            return folder
    what = "holds no trained model" if source.exists() else "does not exist"
    raise RunIncompleteError(
        f"{source} {what}: give the run folder of a finished training, or a folder with config.json and weights"
    )


def _recipe_of(source: Path, folder: Path) -> dict[str, Any]:
    """Options of the run that made the model, as far as they differ from the defaults; of paths their names."""
    place = next((path for path in (source, folder.parent) if runs.is_training(path)), None)
    if place is None:
        return {}
    from polymode.training.recipe import Recipe

    options = runs.read_configuration(place).config
    plain = {one.name: getattr(Recipe(), one.name) for one in fields(Recipe)}
    return {
        name: _without_folders(value) if name in _PATHS else value
        for name, value in options.items()
        if name in plain and value != runs.to_json(plain[name])
    }


def _without_folders(value: Any) -> Any:
    """Absolute paths as their last name: folders of this machine concern nobody."""
    if isinstance(value, Mapping):
        return {name: _without_folders(one) for name, one in value.items()}
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def data_fingerprint(options: Mapping[str, Any]) -> str:
    """What the data of a run are recognised by, in words."""
    data = options.get("data")
    if not data:
        return f"generated by the task `{options.get('task')}` from seed {options.get('seed', 0)}"
    path = Path(str(data))
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    if not files:
        return f"`{path.name}`, which is not on the machine that published"
    digests = [f"`{file.name}` (SHA-256 {runs.fingerprint(file)})" for file in files[:8]]
    return ", ".join(digests) + (f" and {len(files) - 8} files more" if len(files) > 8 else "")


def _card(
    title: str, folder: Path, part: Path, recipe: dict[str, Any], measured: Mapping[str, runs.Metrics], license: str
) -> str:
    configuration = runs.read_configuration(folder.parent) if runs.is_training(folder.parent) else None
    options = {"task": "clinic", "seed": 0, **(configuration.config if configuration else {})}
    start, versions = recipe.get("model"), configuration.versions if configuration else ""
    metadata = {
        "license": license,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": start if start and "/" in str(start) else None,
        "tags": ["polymode", "multi-answer", "calibration", *([recipe["method"]] if "method" in recipe else [])],
        "model-index": model_index(title, measured, str(options["task"])),
    }
    parts = [
        "Answers a question with a set of K answers, each with a confidence, in one completion; trained with polymode "
        "(Multi-Answer RL, [arXiv 2603.24844](https://arxiv.org/abs/2603.24844)). A confidence is the model's own "
        "estimate of being right.",
        "## Use\n\n```sh\npip install 'polymode[train]'\n"
        'polymode answer "QUESTION" --model FOLDER_OR_NAME\n```\n\n'
        "Other programs read it as any causal LM; `polymode_chat.json` says how its prompts were written.",
        "## Measured\n\n"
        + (
            "\n\n".join(metrics_section(label, metrics) for label, metrics in measured.items())
            + "\n\nIntervals resample questions; a dash is a number that is undefined there. They hold for questions "
            "like these only."
            if measured
            else "Nothing was measured for this card."
        ),
    ]
    if recipe:
        parts.append(
            "## Training\n\nOptions that differ from polymode's defaults (`recipe.yaml`):\n\n```yaml\n"
            + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=110)
            + f"```\n\nData: {data_fingerprint(options)}.  \nMade with: {versions or NOT_STATED}."
        )
    parts.append(f"Fingerprint of the weights: `{model_fingerprint(part)}`. License: {license or NOT_STATED}.")
    return card(metadata, title, parts)
