"""What a question and a model are recognised by: short digests of their content (layer L0).

A question's fingerprint has two parts, ``<16 hex digits>-<32 hex digits>``. The first is a digest of the text without
regard to case and white space: equal where the question is the same, whatever its id. The second is a sketch in which
similar texts differ in few bits (SimHash, Charikar 2002, https://doi.org/10.1145/509907.509965): each group of three
neighbouring characters votes on each of 128 bits. So files that hold no texts still tell repeats, and nearly so.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BITS = 128
NEAR_SHARE = 0.25
"""Sketches that differ in no more than this share of the bits in which two questions usually differ belong to texts
that are nearly the same. Half of the bits differ between unrelated texts, a quarter between those of one template."""
MIN_QUESTIONS = 20
"""With fewer, questions are taken to be unrelated."""
MAX_COMPARED = 20_000
"""Questions that are compared with each other at most."""
_BLOCK = 1024
_SAMPLES, _SAMPLE = 64, 1 << 16
"""Parts of a large file that are read, and bytes of each."""
_MODEL_FILES = (".json", ".safetensors", ".bin", ".pt", ".gguf", ".model", ".txt", ".jinja")
_OWN_FILES = ("polymode_chat.json", "trainer_state.json", "training_args.bin", "optimizer.pt")
"""Files of a model's folder that do not change what it says to a prompt; how it is prompted is compared by itself."""


def question_fingerprint(text: str) -> str:
    """Digest and sketch of a question; "" for a blank one, which nothing can be recognised by."""
    plain = plain_text(text)
    if not plain:
        return ""
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{digest}-{_sketch(plain)}"


def plain_text(text: str) -> str:
    """The text without regard to case and white space."""
    return " ".join(text.casefold().split())


def same_question(fingerprint: str) -> str:
    """The part of a fingerprint that is equal for the same question."""
    return fingerprint.partition("-")[0]


def near_repeats(fingerprints: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of numbers of different questions that are nearly the same, the first number smaller.

    Only the first ``MAX_COMPARED`` are compared. An empty fingerprint is near nothing.
    """
    numbers = [n for n, one in enumerate(fingerprints[:MAX_COMPARED]) if one]
    sketches = [bytes.fromhex(fingerprints[n].partition("-")[2]) for n in numbers]
    bits = np.unpackbits(np.frombuffer(b"".join(sketches), dtype=np.uint8)).reshape(-1, N_BITS)
    signs = 2 * bits.astype(np.float32) - 1
    usual = N_BITS / 2
    if len(signs) >= MIN_QUESTIONS:
        shift = len(signs) // 2  # one pair for each question, as good as random
        usual = min(usual, float(np.median((signs != np.roll(signs, shift, axis=0)).sum(axis=1))))
    least = N_BITS - 2 * NEAR_SHARE * usual  # a product of two sketches is N_BITS less twice the bits that differ
    for start in range(0, len(signs), _BLOCK):
        rows, columns = np.nonzero(signs[start : start + _BLOCK] @ signs[start:].T >= least)
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
            a, b = numbers[start + i], numbers[start + j]
            if i < j and same_question(fingerprints[a]) != same_question(fingerprints[b]):
                yield a, b


def _sketch(text: str) -> str:
    codes = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    groups = codes[:-2] | codes[1:-1] << np.uint64(21) | codes[2:] << np.uint64(42)
    words = _mixed(np.stack([groups, groups ^ np.uint64(0x9E3779B97F4A7C15)], axis=1))
    votes_N_B = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1)
    return np.packbits(2 * votes_N_B.sum(axis=0, dtype=np.int32) > len(groups)).tobytes().hex()


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014): every bit of the input moves half of the output's."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


def model_fingerprint(model: str | Path) -> str:
    """Digest of a model's files: weights, configuration, tokenizer; "" where the model is not on this machine.

    A file above 4 MiB is read in 64 parts of 64 KiB, spread evenly over it, beside its size: training of all weights
    changes some of them (a change of a few tensors may be missed), and no time is spent on reading all. An adapter
    counts with its base model. A name is looked up in the cache of the Hugging Face Hub.
    """
    path = _local(model)
    if path is None:
        return ""
    digest = hashlib.sha256()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        is_of_model = file.suffix in _MODEL_FILES and file.name not in _OWN_FILES
        if file.is_file() and (is_of_model or not path.is_dir()):
            name = file.name if path.is_dir() else ""
            digest.update(f"{name} {file.stat().st_size}\n".encode())
            _read_into(digest, file)
    if base := _base_of(path):
        digest.update(model_fingerprint(base).encode() or base.encode())
    return digest.hexdigest()[:16]


def _local(model: str | Path) -> Path | None:
    """A model's folder or file; that of a name in the Hub's cache."""
    path = Path(model)
    if path.exists():
        return path
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{str(model).replace('/', '--')}"
    try:
        return cache / "snapshots" / (cache / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _base_of(path: Path) -> str:
    """Name of the model that an adapter belongs to; "" where there is none."""
    try:
        base: Any = json.loads((path / "adapter_config.json").read_bytes()).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return ""
    return base if isinstance(base, str) and Path(base).resolve() != path.resolve() else ""


def _read_into(digest: Any, file: Path) -> None:
    size = file.stat().st_size
    with file.open("rb") as handle:
        if size <= _SAMPLES * _SAMPLE:
            digest.update(handle.read())
            return
        for number in range(_SAMPLES):
            handle.seek((size - _SAMPLE) * number // (_SAMPLES - 1))
            digest.update(handle.read(_SAMPLE))
