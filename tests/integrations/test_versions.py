"""Which versions of other packages the shells accept."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from polymode.errors import ConfigError
from polymode.integrations import versions
from polymode.integrations.versions import SUPPORTED, check_version


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    check_version.cache_clear()
    yield
    check_version.cache_clear()


@pytest.mark.parametrize("present", ["0.9.1", "0.9", "0.9.2.dev0", "0.9.0+cpu"])
def test_a_fitting_version_passes(monkeypatch: pytest.MonkeyPatch, present: str) -> None:
    monkeypatch.setattr(versions, "version", lambda package: present)
    check_version("verl")


@pytest.mark.parametrize("present", ["0.8.0", "0.10.1", "1.9.0", "0.90", "0"])
def test_another_one_is_named_with_the_one_to_install(monkeypatch: pytest.MonkeyPatch, present: str) -> None:
    monkeypatch.setattr(versions, "version", lambda package: present)
    with pytest.raises(ConfigError) as caught:
        check_version("verl")
    assert str(caught.value) == (
        f"verl {present} is installed, and polymode's adapter is for verl 0.9: pip install 'verl==0.9.*'"
    )


def test_what_is_no_installed_package_passes() -> None:
    check_version("slime")


def test_what_is_tested_is_what_is_supported(root: Path) -> None:
    with (root / "tests/integrations_real/environments.toml").open("rb") as file:
        pins = [pin for entry in tomllib.load(file)["environment"] for pin in entry.get("install", [])]
    tested = {package: version for package, _, version in (pin.partition("==") for pin in pins) if package in SUPPORTED}
    assert tested.keys() == {"inspect-ai", "lm-eval", "nemo-gym", "openenv-core", "verifiers", "verl"}
    for package, version in tested.items():
        assert version.split(".")[:2] == SUPPORTED[package].split("."), package
