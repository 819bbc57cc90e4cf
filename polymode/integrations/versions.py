"""The versions of other packages that the shells are written for."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from polymode.errors import ConfigError

SUPPORTED = {
    "inspect-ai": "0.3",
    "lm-eval": "0.4",
    "nemo-gym": "0.4",
    "openenv-core": "0.3",
    "openrlhf": "0.11",
    "skyrl": "0.4",
    "slime": "0.3",
    "trl": "1.16",
    "verifiers": "0.4",
    "verl": "0.9",
}
"""First two numbers of the version, by the name of the package."""


@cache
def check_version(package: str) -> None:
    """Refuse a package of another version; one that was not installed as a package (a source folder) passes.

    Raises:
        ConfigError: names the version that is there, the one that is needed, and how to get it.
    """
    try:
        present = version(package)
    except PackageNotFoundError:
        return
    supported = SUPPORTED[package]
    if present.split(".")[:2] != supported.split("."):
        raise ConfigError(
            f"{package} {present} is installed, and polymode's adapter is for {package} {supported}: "
            f"pip install '{package}=={supported}.*'"
        )
