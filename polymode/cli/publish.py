"""`polymode publish`: a model or relabelled data with its card, in a folder, and only when asked on the hub."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from polymode.cli.checks import need_packages
from polymode.errors import ConfigError, RunExistsError


@dataclass(frozen=True)
class Publish:
    """Make a folder to publish: a model with whole weights, or relabelled data, and a card.

    Nothing is sent unless --push is given. The card of a model has the metrics with intervals, the recipe and
    fingerprints of data and weights; that of data says what was added, when, and to which original. Names of people and
    of this machine's folders are left out; read the card before you push.

    Examples:
        # a trained model and what was measured of it
        polymode publish runs/mine --evaluation runs/mine/test --out publish/mine --license apache-2.0
        # look at publish/mine/README.md, then
        polymode publish runs/mine --out publish/mine --repo OWNER/NAME --push
        # data that `polymode relabel` wrote
        polymode publish relabelled.jsonl --out publish/data
    """

    source: Path
    """Run folder of a training, folder of a model, or a .jsonl file of relabelled data."""
    _: KW_ONLY
    out: Path
    """Folder to make; with --push one that was made before is sent as it is."""
    evaluation: tuple[Path, ...] = ()
    """Folders with a metrics.json of this model, as many as you like."""
    name: str = ""
    """Title of the card; by default the name of --out."""
    license: str = ""
    """License of what is published, by the hub's name for it; nothing is sent without one."""
    base: str = ""
    """Base model of adapters, where it has moved."""
    repo: str = ""
    """OWNER/NAME on the Hugging Face hub."""
    push: bool = False
    """Send the folder to --repo."""
    public: bool = False
    """Create a repository that everybody can read; by default it is private."""


def publish(options: Publish) -> int:
    """Make the folder, and send it when asked to."""
    from polymode.publish import check_name, package_data, package_model, push

    if options.repo:
        check_name(options.repo)
    if options.push and not options.repo:
        raise ConfigError("--push needs --repo OWNER/NAME: say where to")
    is_data = options.source.suffix.lower() in (".jsonl", ".ndjson")
    is_made = (options.out / "README.md").is_file()
    if not (options.push and is_made):
        if is_made:
            raise RunExistsError(f"{options.out} is there already: send it with --push, or choose another --out")
        if is_data:
            if options.evaluation or options.base:
                raise ConfigError(
                    "--evaluation and --base are for models, and the source is a data file: leave them out"
                )
            package_data(options.source, options.out, name=options.name, license=options.license)
        else:
            need_packages("train")
            package_model(
                options.source,
                options.out,
                name=options.name,
                evaluations=options.evaluation,
                base=options.base,
                license=options.license,
            )
        print(f"made: {options.out}; read {options.out / 'README.md'} before you publish it")
    if options.push:
        address = push(options.out, options.repo, "dataset" if is_data else "model", private=not options.public)
        print(f"published: {address}")
    return 0
