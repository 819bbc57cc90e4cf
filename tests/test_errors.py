import copy
import inspect
import pickle
import re

import pytest

from polymode import errors
from polymode.errors import MissingExtraError, PolymodeError, UserError

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, PolymodeError)]


def drawn_tree() -> dict[str, tuple[str, str]]:
    """Name to (parent, standard exception), as the module's docstring draws them."""
    tree: dict[str, tuple[str, str]] = {}
    trail: list[tuple[int, str]] = []
    parent_standard: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^(?P<rails>[\s│├└─]*)(?P<name>[A-Z]\w+)(?: \((?P<standard>\w+)\))?(?:\s{2,}|$)", line)
        if not found or not hasattr(errors, found["name"]):
            continue
        depth = len(found["rails"])
        trail = [(d, name) for d, name in trail if d < depth]
        parent = trail[-1][1] if trail else ""
        standard = found["standard"] or parent_standard[parent]
        tree[found["name"]] = (parent, standard)
        parent_standard[found["name"]] = standard
        trail.append((depth, found["name"]))
    return tree


def make(kind: type[PolymodeError]) -> PolymodeError:
    return kind("trl", "train", "training") if kind is MissingExtraError else kind("k = 0 is not allowed")


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    tree = drawn_tree()
    assert set(tree) == {kind.__name__ for kind in CLASSES}
    for kind in CLASSES:
        parent, standard = tree[kind.__name__]
        assert kind.__bases__[0].__name__ == (parent or "Exception")
        assert standard in {base.__name__ for base in kind.__mro__[1:]}


@pytest.mark.parametrize("kind", CLASSES)
def test_each_error_is_also_a_standard_exception(kind: type[PolymodeError]) -> None:
    standard = [base for base in kind.__mro__ if base.__module__ == "builtins" and base not in (BaseException, object)]
    assert Exception in standard
    assert kind is PolymodeError or len(standard) > 1


@pytest.mark.parametrize("kind", CLASSES)
def test_pickling_and_copying_keep_class_and_message(kind: type[PolymodeError]) -> None:
    error = make(kind)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert twin.__dict__ == error.__dict__


@pytest.mark.parametrize("kind", CLASSES)
def test_user_errors_exit_with_2_and_all_others_with_1(kind: type[PolymodeError]) -> None:
    assert make(kind).exit_code == (2 if issubclass(kind, UserError) else 1)


def test_a_missing_extra_names_the_package_the_purpose_and_the_command() -> None:
    error = MissingExtraError("trl", "train", "training")
    assert str(error) == "training needs the package 'trl', which is not installed: pip install 'polymode[train]'"
    assert (error.package, error.extra, error.purpose) == ("trl", "train", "training")
