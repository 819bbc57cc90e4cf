"""What can be named: tasks, verifiers, generators and more, each kind in one table (layer L1).

A name is looked up in three places, in this order:

1. the built-in names, so that no installed package changes what a recipe means;
2. the entry points of installed packages, group ``polymode.KINDs`` (``polymode.tasks``, ``polymode.verifiers``, ...);
3. ``module:Name``, imported as it stands.

Commands also import from the folder that they run in, after everything that is installed. A class is opened with the
options as keyword arguments (an entry point may also be a function that makes the object); metrics, terms and scores
are functions and used as they are. What is named is checked when it is named, before any work.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from polymode.errors import ConfigError, PolymodeError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Entry(NamedTuple):
    """What a built-in name stands for."""

    address: str
    """``module:Name`` of its class or function."""
    summary: str
    """One line for the lists of `polymode tasks` and `polymode doctor`."""
    options: Mapping[str, Any] = {}
    """Keyword arguments of the class that belong to the name."""


class Registry(Generic[T]):
    """The names of one kind of thing; T is what opening one gives.

    Args:
        kind: what is named, for messages and for the entry-point group: ``verifier``, ``confidence_score``.
        entries: built-in names, in the order in which they are listed.
        protocols: what an opened object must have, any one of them. None for a kind whose members are functions.

    >>> Registry("verifier", {"text": Entry("polymode.verifiers.text:TextVerifier", "normalised texts")}).open("text")
    TextVerifier()
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry], *protocols: type[Any]) -> None:
        self.kind, self.entries, self._protocols = kind, dict(entries), protocols
        self.group = f"polymode.{kind}s"

    def __contains__(self, name: object) -> bool:
        """Whether the name can be looked up; ``module:Name`` is not imported for it."""
        return isinstance(name, str) and (name in self.entries or _is_address(name) or bool(self._installed(name)))

    def __iter__(self) -> Iterator[str]:
        """Built-in names, then those of installed packages."""
        return iter(dict.fromkeys([*self.entries, *(entry.name for entry in self._installed())]))

    def summaries(self) -> dict[str, str]:
        """What each name is, in one line: built-in ones, then those of installed packages."""
        lines = {name: entry.summary for name, entry in self.entries.items()}
        for point in self._installed():
            origin = f"{point.value} ({point.dist.name if point.dist else 'installed'})"
            if point.name in self.entries:
                lines[f"{point.name} of {origin}"] = f"hidden by the built-in {point.name!r}; use {point.value}"
            elif point.name in lines:
                lines[point.name] += f" and {origin}: ambiguous"
            else:
                lines[point.name] = origin
        return lines

    def load(self, name: str) -> Any:
        """The class or function behind a name.

        Raises:
            ConfigError: an unknown name; a module that cannot be imported or lacks the name; something of another kind.
        """
        address = self._address(name)
        module, _, path = address.partition(":")
        subject = self._what(name) if address == name else f"{self._what(name)} is {address}, which"
        try:
            member: Any = import_module(module)
        except PolymodeError:  # a missing extra says by itself what to install
            raise
        except (Exception, SystemExit) as exc:
            raise ConfigError(
                f"{subject} cannot be imported ({describe_error(exc)}): install its package, run in the folder that "
                f"holds {module.partition('.')[0]}, or correct the name"
            ) from exc
        try:
            member = attrgetter(path)(member)
        except AttributeError:
            message = f"{subject} does not exist: module {module!r} has no {path!r}; correct the name"
            raise ConfigError(message) from None
        if inspect.isclass(member):
            self._check_methods(name, member)
        elif not callable(member) or (self._protocols and address == name):
            # A run folder may name what judges it, and must not get any function of this installation called.
            raise ConfigError(f"{subject} is not a {'class' if self._protocols else 'function'}: name one")
        return member

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """Keyword arguments of the class behind a name, by name; one of kind VAR_KEYWORD takes any other."""
        parameters = inspect.signature(self.load(name)).parameters
        return {n: p for n, p in parameters.items() if p.kind not in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)}

    def check(self, name: str, options: Mapping[str, Any]) -> None:
        """Refuse a name or option that does not exist, and a missing option; opens nothing.

        Raises:
            ConfigError: as for `load`, or for an option.
        """
        parameters = self.options(name)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        parameters = {option: p for option, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
        for option in options:
            if option not in parameters and not takes_any:
                allowed = f"known: {', '.join(parameters)}" if parameters else "it has none"
                raise ConfigError(f"{self._what(name)}: unknown option {option!r}; {allowed}")
        present = {**self._fixed(name), **options}
        missing = [option for option, p in parameters.items() if p.default is p.empty and option not in present]
        if missing:
            raise ConfigError(f"{self._what(name)}: {' and '.join(missing)} must be given as {self.kind} options")

    def open(self, name: str, **options: Any) -> T:
        """An object of the class behind a name, made with the options.

        Raises:
            ConfigError: as for `check`; a value that is not allowed; a constructor that fails.
            PolymodeError: others that the constructor raises, such as MissingExtraError.
        """
        self.check(name, options)
        try:
            made = self.load(name)(**{**self._fixed(name), **options})
        except ConfigError as exc:
            raise ConfigError(f"{self._what(name)}: {exc}") from None
        except PolymodeError:
            raise
        except Exception as exc:
            raise ConfigError(
                f"{self._what(name)} cannot be made ({describe_error(exc)}): correct its options or its constructor"
            ) from exc
        self._check_methods(name, made)
        return cast(T, made)

    def name_of(self, member: Any) -> str:
        """The name of a class or function: a built-in one, else its ``module:Name``."""
        address = f"{member.__module__}:{member.__qualname__}"
        return next((n for n, e in self.entries.items() if e.address == address and not e.options), address)

    def _fixed(self, name: str) -> Mapping[str, Any]:
        """Options that belong to a built-in name."""
        return self.entries[name].options if name in self.entries else {}

    def _address(self, name: str) -> str:
        if _is_address(name):
            return name
        if name not in self:
            names = f"one of {', '.join(self)}, or " if list(self) else ""
            raise ConfigError(f"{self.kind} = {name!r} is not known: use {names}module:Name")
        if name in self.entries:
            return self.entries[name].address
        addresses = sorted({point.value for point in self._installed(name)})
        if len(addresses) > 1:
            raise ConfigError(f"{self._what(name)} is ambiguous: give {' or '.join(addresses)} instead")
        return addresses[0]

    def _installed(self, name: str | None = None) -> list[EntryPoint]:
        from importlib import metadata  # only where a name is not built in: it reads the list of every package

        points = metadata.entry_points(group=self.group)
        return sorted(point for point in points if name in (None, point.name))

    def _check_methods(self, name: str, member: Any) -> None:
        """Refuse what fits no protocol; of a class its methods only, as attributes may come when it is made."""
        lacking = [(list(_absent(protocol, member)), protocol) for protocol in self._protocols]
        absent, protocol = min(lacking, key=lambda pair: len(pair[0]), default=([], type))
        if absent:
            raise ConfigError(
                f"{self._what(name)} has no {' and no '.join(absent)}: add what "
                f"{protocol.__module__}.{protocol.__qualname__} describes"
            )

    def _what(self, name: str) -> str:
        return f"{self.kind.replace('_', ' ')} {name!r}"


def describe_error(exc: BaseException) -> str:
    """Type and text of an exception, in one line; the type alone where its text cannot be had."""
    try:
        text = " ".join(str(exc).split())
    except Exception:
        text = ""
    return f"{type(exc).__name__}: {text}".removesuffix(": ")


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Modules of ``folder`` can be imported meanwhile, after everything installed, so that they hide none of it."""
    path = str(folder)
    sys.path.append(path)
    try:
        yield
    finally:
        if path in sys.path:  # the last of them: the folder may have been there before, in a place of its own
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(path)]


def _is_address(name: object) -> bool:
    parts = name.split(":") if isinstance(name, str) else []
    return len(parts) == 2 and all(word.isidentifier() for part in parts for word in part.split("."))


def _absent(protocol: type[Any], member: Any) -> Iterator[str]:
    """What a class or object lacks of a protocol's own methods and attributes, in words."""
    for name, method in vars(protocol).items():
        if not name.startswith("_") and inspect.isfunction(method) and not callable(getattr(member, name, None)):
            yield f"method {name}({', '.join(list(inspect.signature(method).parameters)[1:])})"
    if not inspect.isclass(member):
        yield from (f"attribute {name}" for name in inspect.get_annotations(protocol) if not hasattr(member, name))
