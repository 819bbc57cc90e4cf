"""Run folders: the interface between generation, training, evaluation and report (layer L3).

::

    RUN/config.json        what was asked for, with versions and the git commit      folder
    RUN/metrics.jsonl      training only: one line per step                          steps
    RUN/warmup.json        warm-up only: share of clean completions before, after    `polymode.warmup`
    RUN/checkpoints/completions/  training only: the completions of each step        step_completions
    RUN/completions.jsonl  one `Completion` a line                                   completions
    RUN/judged.jsonl       one judged completion a line                              judged
    RUN/metrics.json       metrics with intervals                                    metrics
    RUN/*.jsonl.part       finished lines of completions or judged completions       partial
    RUN/policy.json        a `Policy` calibrated on judged.jsonl                     folder
    RUN/note.json          what somebody wrote about the run                         notes
    RUN/probe.npz          a `Probe` that the run's confidences come from            probes
    RUN/report.html        the page

``logs`` makes a completions.jsonl of what inspect_ai (``inspect_logs``) or lm-eval (``lm_eval_samples``) logged.
Every reader and writer of these files is in this package, one module for each kind. ``files`` writes whole or not at
all and knows the schema version; ``lines`` reads large files in order or at known offsets; ``locks`` refuses a second
process that writes the same output.
"""

from polymode.runs.chats import read_chat, read_shots, write_chat
from polymode.runs.completion_blocks import Reading
from polymode.runs.completion_index import CompletionIndex, Map, Questions, index_completions
from polymode.runs.completions import (
    Named,
    completion_of,
    completion_offsets,
    completion_to_row,
    completions_at,
    named_verifier,
    named_verifiers,
    read_completions,
    read_demonstrations,
    write_completions,
)
from polymode.runs.files import (
    SCHEMA,
    read_json,
    to_json,
    write_json,
    write_jsonl,
    writing,
)
from polymode.runs.folder import (
    COMPLETIONS,
    CONFIG,
    JUDGED,
    METRICS,
    POLICY,
    REPORT,
    TRAIN_METRICS,
    create,
    file_in,
    holds_model,
    is_training,
    provenance,
    read_configuration,
    read_policy,
    write_policy,
)
from polymode.runs.judged import (
    JudgedCompletion,
    JudgedSet,
    grouping_fields,
    judged_at,
    judged_line,
    judged_lines,
    judged_path,
    write_judged,
)
from polymode.runs.lines import (
    ChangedError,
    Stamp,
    json_objects,
    read_at,
    read_jsonl,
    stamp_of,
)
from polymode.runs.locks import alone
from polymode.runs.logs import ImportedLog, import_log, log_at
from polymode.runs.metrics import CompletionsFile, Metrics, completions_of, fingerprint, read_metrics, remove_metrics
from polymode.runs.notes import NOTE, Note, read_note, write_note
from polymode.runs.partial import CompletionsPart, JudgedPart
from polymode.runs.probes import PROBE, read_probe, write_probe
from polymode.runs.step_completions import (
    STEP_COMPLETIONS,
    read_step_completions,
    steps_with_completions,
    write_step_completions,
)
from polymode.runs.steps import append_step, read_steps, write_steps

__all__ = [
    "COMPLETIONS",
    "CONFIG",
    "JUDGED",
    "METRICS",
    "NOTE",
    "POLICY",
    "PROBE",
    "REPORT",
    "SCHEMA",
    "STEP_COMPLETIONS",
    "TRAIN_METRICS",
    "ChangedError",
    "CompletionIndex",
    "CompletionsFile",
    "CompletionsPart",
    "ImportedLog",
    "JudgedCompletion",
    "JudgedPart",
    "JudgedSet",
    "Map",
    "Metrics",
    "Named",
    "Note",
    "Questions",
    "Reading",
    "Stamp",
    "alone",
    "append_step",
    "completion_of",
    "completion_offsets",
    "completion_to_row",
    "completions_at",
    "completions_of",
    "create",
    "file_in",
    "fingerprint",
    "grouping_fields",
    "holds_model",
    "import_log",
    "index_completions",
    "is_training",
    "json_objects",
    "judged_at",
    "judged_line",
    "judged_lines",
    "judged_path",
    "log_at",
    "named_verifier",
    "named_verifiers",
    "provenance",
    "read_at",
    "read_chat",
    "read_completions",
    "read_configuration",
    "read_demonstrations",
    "read_json",
    "read_jsonl",
    "read_metrics",
    "read_note",
    "read_policy",
    "read_probe",
    "read_shots",
    "read_step_completions",
    "read_steps",
    "remove_metrics",
    "stamp_of",
    "steps_with_completions",
    "to_json",
    "write_chat",
    "write_completions",
    "write_json",
    "write_jsonl",
    "write_judged",
    "write_note",
    "write_policy",
    "write_probe",
    "write_step_completions",
    "write_steps",
    "writing",
]
