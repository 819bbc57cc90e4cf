"""What questions and models are recognised by: equal for the same, near for the similar, else unlike."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymode import fingerprints
from polymode.fingerprints import model_fingerprint, near_repeats, question_fingerprint, same_question

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "jetty", "knoll", "ledge"]
WORDS += ["marsh", "north", "oasis", "pines", "quarry"]


def bits_apart(a: str, b: str) -> int:
    """Of two sketches, by whole numbers instead of arrays."""
    left, right = (int(question_fingerprint(text).partition("-")[2], 16) for text in (a, b))
    return (left ^ right).bit_count()


@given(text=st.text(max_size=300))
def test_case_and_white_space_are_no_difference(text: str) -> None:
    spaced = "  \n".join(["", *text.split(), ""])
    assert question_fingerprint(spaced) == question_fingerprint(" ".join(text.split()))
    assert bool(question_fingerprint(text)) == bool(text.split())


def test_other_questions_have_other_digests() -> None:
    texts = ["flu?", "flu", "f lu?", "2 - 1", "2 + 1", "日本", "\ud83d half an emoji"]
    assert len({same_question(question_fingerprint(text)) for text in texts}) == len(texts)
    assert question_fingerprint("Flu?") == question_fingerprint(" flu? ") != ""


def test_similar_texts_have_similar_sketches() -> None:
    text = "A 31 year old man has headache, tremor, dizziness; no back pain"
    assert bits_apart(text, text.replace("31", "32")) <= 8 and bits_apart(text, text.replace("ziness", "zines")) <= 12
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=12)) for _ in range(40)]
    apart = [bits_apart(a, b) for i, a in enumerate(texts) for b in texts[:i]]
    assert min(apart) > 16 and 40 <= sum(apart) / len(apart) <= 64


def test_near_repeats_are_the_copies_with_a_typo_and_nothing_else() -> None:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=16)) for _ in range(60)]
    texts += [texts[4].replace(" ", ", ", 1), texts[9] + "?", texts[7], ""]  # 60 and 61 are near, 62 is the same
    assert list(near_repeats([question_fingerprint(text) for text in texts])) == [(4, 60), (9, 61)]


def test_questions_of_one_template_are_no_repeats_of_each_other() -> None:
    rng = random.Random(2)
    form = "Which of the listed places is nearest to the harbour, seen from {} by way of {} and {}?"
    texts = [form.format(*rng.sample(WORDS, 3)) for _ in range(80)]
    pairs = list(near_repeats([question_fingerprint(text) for text in dict.fromkeys(texts)]))
    assert len(pairs) <= 3  # of 3,160


def test_few_questions_and_none() -> None:
    assert list(near_repeats([])) == [] == list(near_repeats(["", ""]))
    a, b = question_fingerprint("What is the largest lake in Peru?"), question_fingerprint("Name a noble gas.")
    assert list(near_repeats([a, b, a])) == []


def test_a_model_is_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    mark = model_fingerprint(first)
    assert len(mark) == 16 and model_fingerprint(second) == mark == model_fingerprint(str(first))
    (second / "polymode_chat.json").write_text("{}")  # how it is prompted is compared by itself
    (second / "README.md").write_text("about")
    assert model_fingerprint(second) == mark
    (second / "model.safetensors").write_bytes(bytes(range(256)) * 7 + bytes(256))
    assert model_fingerprint(second) != mark
    assert model_fingerprint(tmp_path / "absent") == ""
    # A large file is read in parts: a change of all of it is seen, as is one of its size.
    monkeypatch.setattr(fingerprints, "_SAMPLE", 16)
    weights = first / "model.safetensors"
    weights.write_bytes(bytes(4000))
    large = model_fingerprint(first)
    weights.write_bytes(b"\1" * 4000)
    assert model_fingerprint(first) != large
    weights.write_bytes(bytes(4001))
    assert model_fingerprint(first) != large


def test_an_adapter_counts_with_its_base_and_a_name_is_looked_up_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub/models--org--base/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert model_fingerprint("org/base") == ""
    (tmp_path / "hub/models--org--base/refs").mkdir()
    (tmp_path / "hub/models--org--base/refs/main").write_text("abc\n")
    assert model_fingerprint("org/base") == model_fingerprint(snapshot) != ""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    before = model_fingerprint(adapter)
    (snapshot / "config.json").write_text('{"a": 1}')
    assert model_fingerprint(adapter) not in ("", before)
