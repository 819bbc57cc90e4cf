"""policy.json: a `Policy` calibrated on judged.jsonl (layer L3)."""

from __future__ import annotations

from pathlib import Path

from polymode.errors import ConfigError, DataNotFoundError, RecordError, RunIncompleteError
from polymode.policy import Policy
from polymode.runs.files import read_json, write_document


def write_policy(path: Path, policy: Policy) -> None:
    """Write a policy, whole or not at all."""
    write_document(path, policy.to_json())


def read_policy(path: Path) -> Policy:
    """Read what `write_policy` wrote, or somebody by hand.

    Raises:
        DataNotFoundError: no such file.
        ConfigError: not JSON, of a newer schema, or no policy; names the file.
    """
    try:
        content = read_json(path, f"policy {path}")
    except RecordError as exc:
        raise ConfigError(f"{exc} (polymode calibrate makes a policy)") from None
    except (OSError, RunIncompleteError) as exc:
        reason = getattr(exc, "strerror", None) or "no such file"
        raise DataNotFoundError(
            f"policy {path} cannot be read ({reason}): check the path, or make one with polymode calibrate"
        ) from None
    try:
        return Policy.from_json({name: value for name, value in content.items() if name != "schema"})
    except ConfigError as exc:
        raise ConfigError(f"policy {path}: {exc}") from None
