"""Packages that programs may import besides the standard library: where they lie, so that only they are mounted."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from polymode.errors import ConfigError


def locate_packages(names: Sequence[str]) -> Mapping[str, Path]:
    """What to mount by the name it must have, such as ``{"numpy": ..., "numpy.libs": ...}``.

    Args:
        names: as they are imported: ``numpy``, ``dateutil``. What a package itself imports has to be named as well.

    Raises:
        ConfigError: not a sequence of names, a package that is not installed or is part of Python, or one that lies in
            several places.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ConfigError(f"packages = {names!r} must be names as they are imported, such as ('numpy',)")
    places: dict[str, Path] = {}
    importlib.invalidate_caches()
    for name in dict.fromkeys(names):
        if name in sys.stdlib_module_names:
            raise ConfigError(f"packages: {name!r} is part of Python and may be imported anyway; leave it out")
        spec = PathFinder.find_spec(name)
        if spec is None:
            raise ConfigError(f"packages: {name!r} is not installed here; pip install it, or leave it out")
        folders = list(spec.submodule_search_locations or ())
        if len(folders) > 1 or (not folders and not spec.has_location):
            raise ConfigError(f"packages: {name!r} does not lie in one folder or file and so cannot be mounted")
        place = Path(folders[0] if folders else str(spec.origin))
        places[place.name] = place
        libraries = place.with_name(f"{name}.libs")  # shared libraries that a wheel brings along
        if libraries.is_dir():
            places[libraries.name] = libraries
    return places
