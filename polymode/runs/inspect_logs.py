"""Logs of inspect_ai (``.eval``, ``.json``) as lines of ``completions.jsonl``; inspect_ai is not needed (layer L3).

An epoch is a sample of its question, and so is each of several choices of one reply. What polymode's own task of
inspect_ai runs carries its line in the sample's metadata, under ``polymode``. Of other people's tasks the question is
the input, and the references are the metadata's ``references`` or else the targets: each target is a right answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from polymode.errors import DataNotFoundError, RecordError
from polymode.messages import completion_text, content_text
from polymode.runs.archives import LONGEST, archive
from polymode.runs.lines import parse_object

Row = dict[str, Any]
NEWEST = 2
"""Version of the log format up to which logs are read; that of inspect_ai 0.3.285."""
ROW = "polymode"
"""Name in a sample's metadata of what its line in ``completions.jsonl`` says besides the completion."""
_HEADERS = ("header.json", "_journal/start.json")
"""Of a finished log, and of one that is being written or was cut off."""
_SAMPLE = re.compile(r"samples/(.*)_epoch_(\d+)\.json", re.DOTALL)
_ATTACHMENT = "attachment://"
_FIX = "copy the log again, or evaluate again"
_CUT_OFF = ("max_tokens", "model_length")


class Header(NamedTuple):
    """What a log says about its run."""

    status: str
    task: str
    model: str
    ids: list[str]
    """Of the samples that were to be evaluated, in order; none where the log does not tell."""
    n_expected: int | None
    """Samples of all epochs; None where the log does not tell."""
    n_choices: int
    """Of one reply."""


class Unusable(NamedTuple):
    """A sample that holds no completion."""

    reason: str
    """In a few words, the same for all of a kind."""
    detail: str = ""


def is_inspect_log(path: Path) -> bool:
    """Whether a file is a log of inspect_ai, by its name and its beginning."""
    if path.suffix == ".eval":
        return True
    if path.suffix != ".json":
        return False
    try:
        with path.open("rb") as handle:
            head = handle.read(4096)
    except OSError:
        return False
    return head.lstrip().startswith(b"{") and all(name in head for name in (b'"version"', b'"status"', b'"eval"'))


def inspect_log(path: Path) -> tuple[Header, Iterator[Any]]:
    """What a log says about its run, and its samples, in the order of the data set; read one by one from ``.eval``.

    Raises:
        DataNotFoundError: there is no such file.
        RecordError: it is damaged, cut off, of a newer version, or no log; the samples raise it too.
    """
    if path.suffix == ".eval":
        with archive(path) as members:
            name = next((name for name in _HEADERS if name in members.members), None)
            if name is None:
                raise RecordError(f"{path}: no log of inspect_ai: it holds neither {' nor '.join(_HEADERS)}")
            header = _header(parse_object(members.read(name), f"{path}, {name}", _FIX, LONGEST), path)
        return header, _members(path, header)
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise DataNotFoundError(f"{path} cannot be read: {exc.strerror or exc}") from None
    log = parse_object(content, str(path), f"{_FIX}; a log that was cut off is not read", LONGEST)
    samples = log.get("samples")
    return _header(log, path), iter(samples if isinstance(samples, list) else [])


def rows_of_sample(sample: Any, where: str, n_choices: int = 1) -> list[Row] | Unusable:
    """The lines of one sample, without where they come from.

    Args:
        sample: a sample of a log as JSON: id, epoch, input, target, metadata, output, error, invalidation, limit.
        where: what errors call it.
        n_choices: choices of one reply, which number the samples of a question.

    Raises:
        RecordError: it is no sample, or its output is none.
    """
    if not isinstance(sample, Mapping) or not isinstance(sample.get("output") or {}, Mapping):
        raise RecordError(f"{where}: not a sample of inspect_ai; {_FIX}")
    if sample.get("error") is not None:
        return Unusable("ended with an error", _message(sample["error"]))
    if sample.get("invalidation") is not None:
        return Unusable("declared invalid")
    output = sample.get("output") or {}
    choices = output.get("choices") or []
    if not isinstance(choices, list) or not choices:
        return Unusable("no output", _message(output.get("error")))
    row, n_choices = _row(sample, where), max(n_choices, len(choices))
    usage = output.get("usage") or {}
    epoch = sample.get("epoch", 1)
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1:
        raise RecordError(f"{where}: epoch = {epoch!r} is not allowed: give a whole number from 1")
    rows: list[Row] = []
    for number, choice in enumerate(choices):
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(message, Mapping):
            raise RecordError(f"{where}: choice {number + 1} holds no message; {_FIX}")
        text = _text(_attached(message.get("content"), sample), where)
        finished = choice.get("stop_reason") not in _CUT_OFF and sample.get("limit") is None
        rows.append({**row, "completion": text, "sample": (epoch - 1) * n_choices + number, "finished": finished})
        # The usage of one call counts the tokens of all its choices.
        rows[-1]["n_tokens"] = usage.get("output_tokens") if len(choices) == 1 else None
    return rows


def _members(path: Path, header: Header) -> Iterator[Mapping[str, Any]]:
    with archive(path) as members:
        place = {id_: number for number, id_ in enumerate(header.ids)}
        found = [(match, name) for name in members.members if (match := _SAMPLE.fullmatch(name))]
        found.sort(key=lambda one: (place.get(one[0][1], len(place)), int(one[0][2])))
        for _, name in found:
            yield parse_object(members.read(name), f"{path}, {name}", _FIX, LONGEST)


def _header(log: Mapping[str, Any], path: Path) -> Header:
    version, evaluation = log.get("version"), log.get("eval")
    if isinstance(version, bool) or not isinstance(version, int) or not isinstance(evaluation, Mapping):
        raise RecordError(f"{path}: no log of inspect_ai: it has no version and no eval")
    if not 1 <= version <= NEWEST:
        raise RecordError(
            f"{path}: version {version} of the log format is not read, only 1 to {NEWEST} (inspect_ai 0.3): upgrade "
            "polymode, or write completions.jsonl from the log"
        )
    dataset, config = evaluation.get("dataset") or {}, evaluation.get("config") or {}
    ids, results = dataset.get("sample_ids"), log.get("results") or {}
    ids = [str(id_) for id_ in ids] if isinstance(ids, list) else []
    expected = len(ids) * (config.get("epochs") or 1) if ids else results.get("total_samples")
    n_choices = (evaluation.get("model_generate_config") or {}).get("num_choices") or 1
    task, model = str(evaluation.get("task", "")), str(evaluation.get("model", ""))
    return Header(str(log.get("status", "started")), task, model, ids, expected, n_choices)


def _row(sample: Mapping[str, Any], where: str) -> Row:
    """What a line says about the question."""
    metadata = sample.get("metadata") or {}
    metadata = metadata if isinstance(metadata, Mapping) else {}
    row = metadata.get(ROW)
    if isinstance(row, Mapping):
        return dict(row)
    references = metadata.get("references", sample.get("target"))
    row = {
        "id": sample.get("id"),
        "question": _question(_attached(sample.get("input"), sample), where),
        "references": references if isinstance(references, list) else [references],
        "meta": dict(metadata),
    }
    return row | {name: metadata[name] for name in ("k", "confidence") if name in metadata}


def _question(asked: Any, where: str) -> str:
    """What the user's messages say."""
    if isinstance(asked, str):
        return asked
    if not isinstance(asked, list) or not all(isinstance(message, Mapping) for message in asked):
        raise RecordError(f"{where}: input = {asked!r:.80} is not allowed: give a text or a list of messages")
    parts = [message.get("content") for message in asked if message.get("role") == "user"]
    return "\n\n".join(content_text(part) for part in parts)


def _text(content: Any, where: str) -> str:
    try:
        return completion_text([{"role": "assistant", "content": content}])
    except RecordError as exc:
        raise RecordError(f"{where}: {exc}") from None


def _attached(value: Any, sample: Mapping[str, Any]) -> Any:
    """The value with the texts that the sample holds apart, in its attachments, put in."""
    if isinstance(value, str):
        attachments = sample.get("attachments") if value.startswith(_ATTACHMENT) else None
        return attachments.get(value.removeprefix(_ATTACHMENT), value) if isinstance(attachments, Mapping) else value
    if isinstance(value, list):
        return [_attached(item, sample) for item in value]
    if isinstance(value, Mapping):
        return {name: _attached(item, sample) for name, item in value.items()}
    return value


def _message(error: Any) -> str:
    """The first line of an error."""
    text = error.get("message") if isinstance(error, Mapping) else error
    return str(text).strip().partition("\n")[0][:120] if text else ""
