"""Recipes in YAML files (layer L4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from polymode.errors import ConfigError, DataNotFoundError
from polymode.training.recipe import Recipe, recipe_from


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a YAML recipe; unknown keys, keys that are given twice and wrong types are refused.

    Options by the names of version 0.1.0 are read, with one `polymode.training.trl_options.RenamedOptionWarning`.

    Raises:
        DataNotFoundError: no such file.
        ConfigError: not a YAML mapping, an unknown or repeated key, or a value that is not allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        repeated = _repeated_key(yaml.compose(text, Loader=yaml.SafeLoader))
    except FileNotFoundError:
        raise DataNotFoundError(f"recipe {path} does not exist: check the path (recipes/ holds examples)") from None
    except IsADirectoryError:
        raise DataNotFoundError(f"recipe {path} is a folder: name the YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"recipe {path} is not valid YAML: {str(exc).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"recipe {path} must be a mapping of option: value, got {type(content).__name__}")
    if repeated:
        raise ConfigError(f"recipe {path}: {repeated} is given twice, and only the last would count: leave one out")
    return recipe_from(content, overrides, where=f"recipe {path}")


def _repeated_key(root: yaml.Node | None) -> str:
    """A key that some mapping of the file has twice, or ""; YAML's reader takes the last one in silence."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias may lead back to what holds it
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            if own := next((key for key, n in counts.items() if n > 1 and key != "<<"), ""):
                return own
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return ""
