"""Folders to publish: making one, and sending it to the Hugging Face hub through its own client (layer L5)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from polymode.errors import ConfigError, MissingExtraError, PolymodeError, RunExistsError, WriteError
from polymode.publish.cards import license_of
from polymode.runs import alone

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@contextmanager
def making(out: Path) -> Iterator[Path]:
    """A folder beside ``out``, to be filled: it becomes ``out``, and where that fails nothing of it stays.

    Raises:
        RunExistsError: ``out`` holds something, or another process makes it.
        WriteError: it cannot be written.
    """
    with alone(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise RunExistsError(f"{out} is there already: choose another --out, or remove it")
        part = out.with_name(f".{out.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir(parents=True)
            yield part
            if out.exists():
                out.rmdir()
            part.rename(out)
        except PolymodeError:  # several of them are OSErrors too
            raise
        except OSError as exc:
            problem = exc.strerror or exc
            raise WriteError(f"{out} cannot be written: {problem}; free space or choose another --out") from exc
        finally:
            shutil.rmtree(part, ignore_errors=True)


def check_name(repo: str) -> None:
    """Refuse what is no repository's name; raises ConfigError."""
    if not _NAME.fullmatch(repo) or repo.endswith(".git") or "--" in repo or ".." in repo:
        raise ConfigError(f"--repo {repo!r} is no repository: write OWNER/NAME, of letters, digits, - _ and .")


def push(folder: Path, repo: str, kind: Literal["model", "dataset"], *, private: bool = True) -> str:
    """Send a folder that was made before; the repository is created where it is missing.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: the card names no license, nobody is logged in, or the token may not write there.
        MissingExtraError: huggingface_hub is not installed.
        WriteError: the hub cannot be reached or refuses; the folder stays as it is.
    """
    try:
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise MissingExtraError("huggingface_hub", "train", "publish --push") from None
    check_name(repo)
    if not license_of((folder / "README.md").read_text(encoding="utf-8")):
        raise ConfigError(
            f"{folder / 'README.md'} names no license: write license: NAME into its first lines, or make the folder "
            "anew with --license"
        )
    if get_token() is None:
        raise ConfigError("--push needs a token of the hub that may write: hf auth login, or set HF_TOKEN")
    api = HfApi(library_name="polymode")
    try:
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        commit: Any = api.upload_folder(
            folder_path=folder, repo_id=repo, repo_type=kind, commit_message="Published with polymode"
        )
    except HfHubHTTPError as exc:
        status = getattr(getattr(exc, "response", None), "status_code", None)
        if status in (401, 403):
            raise ConfigError(f"--repo {repo}: the token may not write there (HTTP {status}): use another") from exc
        raise WriteError(_failed(repo, folder, exc)) from exc
    except Exception as exc:  # what it raises without a network depends on the library that it sends with
        raise WriteError(_failed(repo, folder, exc)) from exc
    return str(commit.commit_url)


def _failed(repo: str, folder: Path, exc: Exception) -> str:
    reason = " ".join(str(exc).split())[:160] or type(exc).__name__
    return f"{repo} was not published ({reason}): {folder} is whole, so give the same command again with --push"
