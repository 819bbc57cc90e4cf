"""`polymode reproduce`: whole experiments, from a model that cannot answer yet to the page that compares methods."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from polymode.cli.checks import need_packages
from polymode.cli.flags import FLAGS_OF, Whole
from polymode.cli.options import ProgramOptions
from polymode.errors import ConfigError
from polymode.reproduce.experiment import Experiment


@dataclass(frozen=True)
class Reproduce(ProgramOptions):
    r"""Run a whole experiment: train, sample, evaluate, and write one page that compares the methods.

    - quick: single-rlvr and multi-rlcr on the clinic task, and the model before training.
    - lab: four methods and the usual baselines with three seeds on the four built-in tasks; K = 2, 4 and 5.
    - harder-lab: confidences learnt from nothing, by credit per sequence and per term, and the ceiling of both models.
    - ddxplus: the four methods on DDXPlus patients (give --data, or set POLYMODE_DATA).
    - paper: the paper's arms with any model on --task: untrained, warm-up, distilled and the four methods.
    - smollm2: the same with SmolLM2-135M on list-questions, ddxplus and ambigqa; on two cores, without a GPU.

    Examples:
        # in minutes, on a laptop; the report is runs/quick/report.html
        polymode reproduce quick
        # continue an interrupted run
        polymode reproduce lab --resume
        polymode reproduce ddxplus --data data/ddxplus
        # a pretrained model, in hours
        polymode reproduce smollm2 --only list-questions
        # the paper's model, with adapters, on one GPU
        polymode reproduce paper --task ddxplus --model Qwen/Qwen3-8B --data data/ddxplus \
            --lora r=64 lora_alpha=128 --recipe-options questions_per_step=8 device_batch=8
        # a model behind a server, which is measured and not trained
        polymode reproduce paper --task list-questions --model MODEL \
            --backend openai --backend-options base_url=http://localhost:8000/v1
    """

    experiment: str = "quick"
    """Experiment to run: quick, lab, harder-lab, ddxplus, paper or smollm2."""
    _: KW_ONLY
    out: Path | None = None
    """Folder of the experiment; by default runs/EXPERIMENT, for paper with the task behind it."""
    resume: bool = False
    """Continue in an existing folder; finished work is not repeated."""
    data: Path | None = None
    """Folder of the task's data; of smollm2 the one that holds ddxplus/ and ambigqa/."""
    workers: Whole = 0
    """Number of models trained at the same time, each with its share of the cores; 0 means one per core, and for paper
    and smollm2 one per GPU where there are some."""
    only: str | None = None
    """Run only this part of the experiment, for example hops of lab, or an arm with what it starts from."""
    changes: dict[str, Any] = field(default_factory=dict, metadata={FLAGS_OF: Experiment})
    """Options of paper and smollm2."""


def reproduce(options: Reproduce) -> int:
    """Run an experiment and say where its reports are."""
    from polymode.reproduce.plans import plans
    from polymode.reproduce.run import part_names

    every = plans(options.experiment, options.data, options.changes)
    if options.only is not None and options.only not in (names := part_names(every)):
        raise ConfigError(
            f"--only {options.only!r} is not a part of {options.experiment}: use one of {', '.join(names)}"
        )
    if options.changes.get("backend") != "openai":
        need_packages("train")
    if options.changes.get("backend") == "vllm":
        need_packages("vllm")
    need_packages("report")
    from polymode.reproduce.run import reproduce

    for note in filter(None, (plan.note for plan in every)):
        print(note, flush=True)
    task = options.changes.get("task")
    out = options.out or Path("runs") / (options.experiment if task is None else f"{options.experiment}-{task}")
    flags: dict[str, Any] = {"resume": options.resume, "data": options.data, "workers": options.workers}
    for report in reproduce(options.experiment, out, **flags, only=options.only, options=options.changes):
        print(f"report: {report}")
    return 0
