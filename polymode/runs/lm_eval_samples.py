"""Files of samples of lm-eval (``samples_TASK_TIME.jsonl``) as lines of ``completions.jsonl`` (layer L3).

``lm_eval --log_samples`` writes one line for each document and filter. All repeats of a document are in its ``resps``,
whatever the filters leave of them, so each document is read once. What polymode's own task runs carries its line in the
document, under ``polymode``. Of other people's tasks the question is the prompt, and the references are those of the
document or else the target.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polymode.errors import RecordError
from polymode.references import is_list_of_references, list_in_text
from polymode.runs.inspect_logs import ROW, Row
from polymode.runs.lines import parse_object, raw_lines

_FIX = "write the samples again (lm_eval --log_samples)"
_FIELDS = frozenset(("doc_id", "doc", "resps", "target"))


def is_samples_file(path: Path) -> bool:
    """Whether the first line of a file is a sample of lm-eval; False where it cannot be read."""
    if path.suffix != ".jsonl":
        return False
    try:
        _, _, content = next(raw_lines(path), (0, 0, b""))
        return parse_object(content, "", "").keys() >= _FIELDS
    except Exception:  # whoever reads it says what is wrong
        return False


def sample_rows(path: Path) -> Iterator[Row | None]:
    """The lines of a file's samples, in order; None for what another filter shows again.

    Raises:
        RecordError: a line is no sample, or one without texts; names line, field and value.
        RunIncompleteError: there is no such file.
    """
    first: dict[Any, str] = {}
    for number, _, content in raw_lines(path):
        where = f"{path}, line {number}"
        line = parse_object(content, where, _FIX)
        if missing := sorted(_FIELDS - line.keys()):
            raise RecordError(f"{where}: {missing[0]} is missing; {_FIX}")
        texts, name = _texts(line["resps"], where), line["doc_id"]
        filter_ = str(line.get("filter"))
        if first.setdefault(name, filter_) != filter_:
            yield None
            continue
        row = _row(line, where)
        for text in texts:
            yield {**row, "completion": text}


def _texts(responses: Any, where: str) -> list[str]:
    """The repeats of the one request that a document makes."""
    match responses:
        case [list(texts)] if texts and all(isinstance(text, str) for text in texts):
            return texts
    raise RecordError(
        f"{where}: resps = {json.dumps(responses, ensure_ascii=False)[:80]} holds no texts: only tasks of output_type "
        "generate_until write completions"
    )


def _row(line: Mapping[str, Any], where: str) -> Row:
    document = line["doc"]
    if not isinstance(document, Mapping):
        raise RecordError(f"{where}: doc = {document!r:.80} is not allowed: give an object")
    if isinstance(own := document.get(ROW), str):
        return parse_object(own, f"{where}, doc, {ROW}", _FIX)
    references = document.get("references")
    row = {
        "id": line["doc_id"],
        "question": _prompt(line.get("arguments")),
        "references": references if isinstance(references, list) else _targets(line["target"]),
        "meta": {name: value for name, value in document.items() if isinstance(value, (str, int, float))},
    }
    return row | {name: document[name] for name in ("k", "confidence") if name in document}


def _targets(target: Any) -> list[Any]:
    """The target; lm-eval writes several as Python prints a list."""
    items = list_in_text(target) if isinstance(target, str) else None
    return items if items and is_list_of_references(items) else [target]


def _prompt(arguments: Any) -> str:
    """The prompt of the first request; "" where there is none."""
    match arguments:
        case {"gen_args_0": {"arg_0": str(prompt)}} | [[str(prompt), *_], *_]:
            return prompt
    return ""
