"""DDXPlus on a hand-made release of three conditions, and on the real subset where it is at hand."""

import csv
import json
import re
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polymode.errors import ConfigError, DataNotFoundError, MissingExtraError, RecordError
from polymode.parsing import parse_answers
from polymode.tasks import Demonstrates, Task
from polymode.tasks.ddxplus import DDXPlus
from polymode.tasks.ddxplus_english import finding_of, in_order, read_evidences
from polymode.tasks.ddxplus_phrases import short_labels, statement_of
from polymode.tasks.ddxplus_rows import COLUMNS, read_conditions
from polymode.types import Example
from polymode.verifiers.text import normalise


def binary(code: str, question: str, *, antecedent: bool = False, parent: str | None = None) -> dict[str, Any]:
    return {
        "name": code,
        "code_question": parent or code,
        "question_en": question,
        "is_antecedent": antecedent,
        "data_type": "B",
        "default_value": 0,
        "possible-values": [],
        "value_meaning": {},
    }


def valued(code: str, question: str, parent: str, values: dict[str, str], default: str) -> dict[str, Any]:
    meaning = {value: {"fr": f"{english} (fr)", "en": english} for value, english in values.items()}
    entry = binary(code, question, parent=parent)
    return entry | {"data_type": "M", "default_value": default, "possible-values": [*values], "value_meaning": meaning}


PLACES = {"V_123": "nowhere", "V_1": "knee(R)", "V_2": "knee(L)", "V_3": "finger (index)(L)"}
EVIDENCES = {
    # As in the official file, the details of E_53 come before it.
    "E_55": valued("E_55", "Do you feel pain somewhere?", "E_53", PLACES, "V_123"),
    "E_53": binary("E_53", "Do you have pain somewhere, related to your reason for consulting?"),
    "E_56": valued("E_56", "How intense is the pain?", "E_53", {}, "0")
    | {"data_type": "C", "possible-values": list(range(11)), "default_value": 0},
    "E_91": binary("E_91", "Do you have a fever (either felt or measured with a thermometer)?"),
    "E_201": binary("E_201", "Do you have a cough?"),
    "E_79": binary("E_79", "Do you smoke cigarettes?", antecedent=True),
    "E_204": valued(
        "E_204",
        "Have you traveled out of the country in the last 4 weeks?",
        "E_204",
        {"V_10": "N", "V_6": "Asia"},
        "V_10",
    )
    | {"is_antecedent": True},
}
CONDITIONS = {
    name: {"condition_name": name, "cond-name-fr": french, "cond-name-eng": name}
    for name, french in (("Influenza", "Grippe possible"), ("GERD", "RGO"), ("Ebola", "Ebola"))
}
PATIENT = {
    "AGE": 33,
    "DIFFERENTIAL_DIAGNOSIS": [["Influenza", 0.6], ["GERD", 0.3], ["Ebola", 0.0]],
    "SEX": "F",
    "PATHOLOGY": "GERD",
    "EVIDENCES": ["E_201", "E_53", "E_55_@_V_2", "E_55_@_V_1", "E_56_@_4", "E_79", "E_204_@_V_10"],
    "INITIAL_EVIDENCE": "E_201",
}


def patient(**changes: Any) -> dict[str, Any]:
    return PATIENT | changes


def patients(count: int) -> list[dict[str, Any]]:
    """Rows that all ask something else: fever and place vary with the number, pathology is Ebola for every tenth."""
    out = []
    for i in range(count):
        pathology = "Ebola" if i % 10 == 0 else "Influenza"
        evidences = ["E_201", "E_53", f"E_55_@_V_{1 + i % 3}", f"E_56_@_{i % 11}"] + ["E_91"] * (i % 2)
        differential = [[pathology, 0.75], ["GERD", 0.25]]
        out.append(patient(AGE=i % 110, PATHOLOGY=pathology, EVIDENCES=evidences, DIFFERENTIAL_DIAGNOSIS=differential))
    return out


def write_rows(path: Path, rows: list[dict[str, Any]], member: str = "release") -> None:
    plain = path.with_suffix(".plain")
    with plain.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list[str](COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(plain, member)
        plain.unlink()
    else:
        plain.rename(path)


def write_release(folder: Path, **files: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "release_evidences.json").write_text(json.dumps(EVIDENCES), encoding="utf-8")
    (folder / "release_conditions.json").write_text(json.dumps(CONDITIONS), encoding="utf-8")
    for name, rows in files.items():
        write_rows(folder / f"{name}.csv", rows)
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "ddxplus", train=patients(200), test=[PATIENT])


def only(task: Task) -> Example:
    [example] = task.examples("test")
    return example


# Questions


def test_brief_question(release: Path) -> None:
    # Cough is the reason; no travel is nothing to report; both knees are named at once; details follow their question.
    assert only(DDXPlus(release, style="brief")).question == (
        "A woman aged 30 to 44 has cough; pain at both knee intensity 4; history smoker"
    )


def test_full_question(release: Path) -> None:
    assert only(DDXPlus(release)).question.splitlines() == [
        "Patient: 33-year-old woman.",
        "Reason for consulting: has a cough.",
        "Symptoms: has pain somewhere, related to their reason for consulting; "
        "location of the pain: knee (right), knee (left); intensity of the pain, from 0 to 10: 4.",
        "History: smokes cigarettes; travel out of the country in the last 4 weeks: no.",
        "Which conditions could explain this presentation?",
    ]
    asked = only(DDXPlus(release, list_conditions=True, target="pathology")).question.splitlines()[-1]
    assert asked == (
        "Which condition explains this presentation? Answer with names from this list: Influenza; GERD; Ebola."
    )


@pytest.mark.parametrize(
    ("age", "sex", "full", "brief"),
    [
        (0, "M", "boy under one year old", "A boy aged under 1 "),
        (14, "F", "14-year-old girl", "A girl aged 5 to 14 "),
        (15, "M", "15-year-old man", "A man aged 15 to 29 "),
        (109, "F", "109-year-old woman", "A woman aged 75 or more "),
    ],
)
def test_persons(tmp_path: Path, age: int, sex: str, full: str, brief: str) -> None:
    folder = write_release(tmp_path / "d", test=[patient(AGE=age, SEX=sex)])
    assert only(DDXPlus(folder)).question.startswith(f"Patient: {full}.")
    assert only(DDXPlus(folder, style="brief")).question.startswith(brief)


def test_the_order_of_evidences_and_repeats_mean_nothing(tmp_path: Path) -> None:
    tokens = PATIENT["EVIDENCES"]
    shuffled = patient(EVIDENCES=[*reversed(tokens), tokens[0]])
    one, other = (
        DDXPlus(write_release(tmp_path / str(i), test=[row]), style="brief")
        for i, row in enumerate((PATIENT, shuffled))
    )
    assert only(one).question == only(other).question


@pytest.mark.parametrize(
    ("question", "statement"),
    [
        ("Do you have a cough?", "has a cough"),
        ("Do you regularly take stimulant drugs?", "regularly takes stimulant drugs"),
        (
            "Do you ever temporarily stop breathing while you’re asleep?",
            "temporarily stops breathing while they are asleep",
        ),
        ("Do you currently undergo dialysis?", "currently undergoes dialysis"),
        ("Are you a former smoker?", "is a former smoker"),
        ("Have you ever had a stroke?", "has had a stroke"),
        ("Did you lose consciousness?", "lost consciousness"),
        (
            "Do you have bouts of choking or shortness of breath that wake you up at night?",
            "has bouts of choking or shortness of breath that wake them up at night",
        ),
        (
            "Do you constantly feel fatigued or do you have non-restful sleep?",
            "constantly feels fatigued or has non-restful sleep",
        ),
        ("Would you rather not say?", 'answers yes to "Would you rather not say?"'),
    ],
)
def test_questions_become_statements(question: str, statement: str) -> None:
    assert statement_of(question) == statement


def test_labels_differ_also_for_questions_that_begin_alike() -> None:
    questions = [
        "Do you have dark purple spots?",
        "Do you have dark purple spots on both legs?",
        "Do you have dark purple spots?",
        "Do you?",
    ]
    # Three telling words, a fourth where three are not enough; an equal question is numbered.
    assert short_labels(questions) == [
        "dark purple spots",
        "dark purple spots both",
        "dark purple spots 2",
        "finding",
    ]


# References


def test_references_are_the_differential_without_zeros(release: Path) -> None:
    example = only(DDXPlus(release, threshold=0.3))
    # 0.6 and 0.3 of 0.9 kept after leaving out the zero: 2/3 and 1/3.
    assert example.distribution == pytest.approx({"Influenza": 2 / 3, "GERD": 1 / 3})
    assert [(r.text, r.weight) for r in example.references] == [
        ("Influenza", pytest.approx(2 / 3)),
        ("GERD", pytest.approx(1 / 3)),
    ]
    assert not example.exclusive and example.id == "ddxplus-test-1"
    assert example.references[1].aliases[:2] == ("RGO", "gastroesophageal reflux disease")


def test_threshold_top_and_pathology(release: Path) -> None:
    def names(**options: Any) -> list[str]:
        return [r.text for r in only(DDXPlus(release, **options)).references]

    assert names(threshold=0.5) == ["Influenza"]
    assert names(threshold=0.9) == ["Influenza"]  # none reaches it: the most probable one
    assert names(references="top", top=1) == ["Influenza"]
    assert names(references="top", top=5) == ["Influenza", "GERD"]
    assert names(target="pathology") == ["GERD"]
    assert only(DDXPlus(release, target="pathology")).exclusive


def test_french_release(tmp_path: Path) -> None:
    folder = tmp_path / "french"
    folder.mkdir()
    french = {"toux": binary("toux", "Do you have a cough?"), "douleur_lieu": EVIDENCES["E_55"]}
    french["douleur_lieu"] = french["douleur_lieu"] | {"code_question": "douleur"}
    (folder / "release_evidences.json").write_text(json.dumps(french), encoding="utf-8")
    keyed = {entry["cond-name-fr"]: entry | {"condition_name": entry["cond-name-fr"]} for entry in CONDITIONS.values()}
    (folder / "release_conditions.json").write_text(json.dumps(keyed), encoding="utf-8")
    row = patient(
        EVIDENCES=["toux", "douleur_lieu_@_V_3"],
        INITIAL_EVIDENCE="toux",
        PATHOLOGY="RGO",
        DIFFERENTIAL_DIAGNOSIS=[["Grippe possible", 0.5], ["RGO", 0.5]],
    )
    write_rows(folder / "release_test_patients.zip", [row], member="release_test_patients")
    example = only(DDXPlus(folder, style="brief"))
    assert example.question == "A woman aged 30 to 44 has cough; pain at left finger index"
    assert [r.text for r in example.references] == ["Influenza", "GERD"]
    assert example.references[0].aliases[:2] == ("Grippe possible", "flu")
    assert example.meta["pathology"] == "GERD"


def test_a_name_in_the_other_language_of_the_release_is_understood(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "d", test=[patient(PATHOLOGY="RGO")])
    assert only(DDXPlus(folder)).meta["pathology"] == "GERD"


# Splits


def test_validation_is_held_out_of_train_by_hash(release: Path) -> None:
    task = DDXPlus(release, validation=0.25)
    train, validation = task.examples("train"), task.examples("validation")
    assert len(train) + len(validation) == 200
    assert 25 <= len(validation) <= 75  # 50 expected, standard deviation 6
    assert {e.question for e in train}.isdisjoint(e.question for e in validation)
    assert {e.id for e in DDXPlus(release, validation=0.25, style="brief").examples("validation")} == {
        e.id for e in validation
    }


def test_an_official_validation_file_is_used(tmp_path: Path) -> None:
    rows = patients(30)
    folder = write_release(tmp_path / "d", train=rows[:20], test=rows[20:25])
    write_rows(folder / "release_validate_patients.zip", rows[25:], member="release_validate_patients")
    task = DDXPlus(folder)
    assert [len(task.examples(s)) for s in ("train", "validation", "test")] == [20, 5, 5]
    assert task.examples("validation")[0].id.startswith("ddxplus-validation-")


def test_training_rows_that_ask_a_test_question_are_left_out(tmp_path: Path) -> None:
    rows = patients(20)
    # Same brief question as the first test row: 31 and 33 years are one band, "no travel" is not told.
    same = patient(AGE=31, EVIDENCES=PATIENT["EVIDENCES"][:-1])
    task = DDXPlus(write_release(tmp_path / "d", train=[same, *rows], test=[PATIENT]))
    ids = {e.id for split in ("train", "validation") for e in task.examples(split)}
    assert ids == {f"ddxplus-train-{i}" for i in range(2, 22)}


def test_examples_are_shuffled_by_the_seed_and_lazy(release: Path) -> None:
    task = DDXPlus(release)
    ids = [e.id for e in task.examples("train", seed=1)]
    assert [e.id for e in task.examples("train", seed=1)] == ids
    assert [e.id for e in task.examples("train", 7, seed=1)] == ids[:7]
    assert [e.id for e in task.examples("train", seed=2)] != ids
    examples = task.examples("train", seed=1)
    assert [e.id for e in examples[2:4]] == ids[2:4] and examples[-1].id == ids[-1]
    assert len(task.examples("test", 50)) == 1  # at most all of them
    with pytest.raises(IndexError):
        examples[len(examples)]


def test_balance_makes_pathologies_equally_likely_in_train_only(release: Path) -> None:
    task = DDXPlus(release, balance=True, validation=0.01)
    drawn = Counter(e.meta["pathology"] for e in task.examples("train", 2000))
    # Two pathologies, one with a tenth of the rows: each has probability 1/2; 4 standard deviations are 90.
    assert set(drawn) == {"Ebola", "Influenza"} and abs(drawn["Ebola"] - 1000) < 90
    assert [e.id for e in task.examples("test")] == ["ddxplus-test-1"]
    assert [e.id for e in task.examples("train", 5)] == [e.id for e in task.examples("train", 2000)[:5]]


def test_limit_reads_the_first_rows_only(release: Path) -> None:
    task = DDXPlus(release, limit=12)
    assert len(task.examples("train")) + len(task.examples("validation")) == 12


# Demonstrations


def test_demonstrations_are_well_formed_and_reproducible(release: Path) -> None:
    task = DDXPlus(release, style="brief")
    assert isinstance(task, Demonstrates)
    for k in (1, 2, 3):
        for confidence in (False, True):
            example = task.examples("train")[0]
            text = task.demonstrate(example, k, confidence=confidence, rng=np.random.default_rng(k))
            assert text == task.demonstrate(example, k, confidence=confidence, rng=np.random.default_rng(k))
            tags = [""] if k == 1 else [str(i) for i in range(1, k + 1)]
            stated = r"<confidence{0}>(?:0\.\d[05]|1\.00)</confidence{0}>" if confidence else ""
            slots = "".join(rf"<answer{i}>([^<]+)</answer{i}>" + stated.format(i) for i in tags)
            found = re.fullmatch(rf"<think> [^<]+ </think>{slots}", text)
            assert found is not None, text
            assert len(set(found.groups())) == k and set(found.groups()) <= set(task.conditions)


def test_reasoning_names_findings_of_the_patient_and_what_they_speak_for(release: Path) -> None:
    task = DDXPlus(release, style="brief")
    example = next(e for e in task.examples("train") if e.meta["pathology"] == "Ebola")
    evidences = read_evidences(release / "release_evidences.json")
    own = {finding_of(str(t), evidences).label for t in list(example.meta["evidences"])}  # type: ignore[call-overload]
    text = task.demonstrate(example, 2, confidence=True, rng=np.random.default_rng(0))
    thought = text.split("</think>")[0].removeprefix("<think> ").strip()
    *reasons, candidates = thought.split(" ; ")
    for reason in reasons:
        finding, name = reason.split(" : ")
        assert finding in own and name in task.conditions
    # The reasoning ends with the likeliest candidates, the differential's first one at their head.
    named = candidates.removeprefix("so ").split(", ")
    assert named[0] == example.references[0].text and set(named) <= set(task.conditions)


def test_vocabulary_covers_questions_and_demonstrations(release: Path) -> None:
    task = DDXPlus(release, style="brief")

    def words(text: str) -> set[str]:
        return set(re.findall(r"<[^>]+>|\w+|[^\w\s]", text))

    known = set().union(*map(words, task.vocabulary()))
    rng = np.random.default_rng(0)
    for example in task.examples("train", 50):
        assert words(example.question) <= known
        assert words(task.demonstrate(example, 3, confidence=True, rng=rng)) <= known
    assert {"0.00", "0.35", "1.00"} <= set(task.vocabulary())


def test_an_example_of_another_task_cannot_be_demonstrated(release: Path) -> None:
    with pytest.raises(ConfigError, match="'q1' does not come from ddxplus"):
        DDXPlus(release).demonstrate(Example("q1", "?", ()), 1, confidence=False, rng=np.random.default_rng(0))


# Errors


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"AGE": "old"}, "field AGE: 'old' must be a whole number of years"),
        ({"SEX": "X"}, "field SEX: 'X' must be 'M' or 'F'"),
        ({"PATHOLOGY": "Gout"}, "field PATHOLOGY: 'Gout' is not in release_conditions.json"),
        ({"EVIDENCES": ["E_201", "E_0"]}, "evidence 'E_0' is not in release_evidences.json"),
        ({"EVIDENCES": ["E_201", "E_55"]}, "evidence 'E_55' needs a value"),
        ({"EVIDENCES": ["E_201", "E_91_@_1"]}, "evidence 'E_91_@_1' takes no value"),
        ({"EVIDENCES": ["E_201", "E_55_@_V_9"]}, "value 'V_9' of evidence 'E_55' is not in"),
        ({"EVIDENCES": "[E_201"}, "field EVIDENCES: '\\[E_201' is not a list literal"),
        ({"EVIDENCES": []}, "field EVIDENCES: a non-empty list is needed"),
        ({"INITIAL_EVIDENCE": "E_91"}, "INITIAL_EVIDENCE 'E_91' is not in EVIDENCES"),
        ({"DIFFERENTIAL_DIAGNOSIS": [["Ebola", -0.1]]}, "probability -0.1 of 'Ebola' must be a number from 0 to 1"),
        ({"DIFFERENTIAL_DIAGNOSIS": [["Ebola", 0]]}, "all probabilities are 0"),
        ({"DIFFERENTIAL_DIAGNOSIS": ["Ebola"]}, "must be a pair"),
    ],
)
def test_bad_rows_name_row_field_and_value(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    folder = write_release(tmp_path / "d", test=[PATIENT, patient(**changes)])
    with pytest.raises(RecordError, match=rf"test\.csv, row 2.*{complaint}"):
        DDXPlus(folder).examples("test")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "d")
    (folder / "test.csv").write_text("AGE,SEX\n33,F\n", encoding="utf-8")
    with pytest.raises(RecordError, match="row 1: the column 'DIFFERENTIAL_DIAGNOSIS' is missing"):
        DDXPlus(folder).examples("test")


def test_missing_data_name_what_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    with pytest.raises(DataNotFoundError, match=r"release_evidences\.json.*train\.csv.*hub=True"):
        DDXPlus()
    with pytest.raises(DataNotFoundError, match=r"holds none of release_evidences\.json"):
        DDXPlus(tmp_path)
    folder = write_release(tmp_path / "d", test=[PATIENT])
    with pytest.raises(DataNotFoundError, match=r"holds no train patients: none of release_train_patients"):
        DDXPlus(folder).examples("train")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"target": "all"}, "target = 'all' is not known"),
        ({"references": "most"}, "references = 'most' is not known"),
        ({"style": "long"}, "style = 'long' is not known"),
        ({"threshold": 0}, "threshold = 0 must lie between 0 and 1"),
        ({"validation": 1.0}, "validation = 1.0 must lie between 0 and 1"),
        ({"top": 0}, "top = 0 is not allowed: give a whole number from 1"),
    ],
)
def test_options_are_checked(release: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        DDXPlus(release, **options)


def test_unknown_split_and_negative_n(release: Path) -> None:
    with pytest.raises(ConfigError, match="split = 'dev'"):
        DDXPlus(release).examples("dev")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="n = -1"):
        DDXPlus(release).examples("test", -1)


# By name


def test_load_dataset_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    rows = patients(30)
    folder = write_release(tmp_path / "copy", train=rows[:20], validation=rows[20:25], test=rows[25:])
    by_name, by_folder = DDXPlus(hub=str(folder), style="brief"), DDXPlus(folder, style="brief")
    for split in ("train", "validation", "test"):
        assert list(by_name.examples(split)) == list(by_folder.examples(split))


def test_missing_datasets_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"'datasets'.*pip install 'polymode\[train\]'"):
        DDXPlus(hub=True)


def test_a_name_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.delenv("POLYMODE_DATA", raising=False)
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    with pytest.raises(DataNotFoundError, match=r"cannot load release_evidences\.json of data set 'nobody/nothing'"):
        DDXPlus(hub="nobody/nothing")


# The real subset


@pytest.fixture(scope="module")
def real(shared_data: Path) -> DDXPlus:
    if not (shared_data / "ddxplus").is_dir():
        pytest.skip(f"no DDXPlus: {shared_data} holds no folder ddxplus")
    return DDXPlus(shared_data / "ddxplus", style="brief")


def test_real_splits(real: DDXPlus) -> None:
    sizes = [len(real.examples(split)) for split in ("train", "validation", "test")]
    assert sizes[0] + sizes[1] == 12_677 and sizes[2] == 1_306  # SOURCE.md; train and test share no question
    assert 0.08 < sizes[1] / 12_677 < 0.12
    questions = [{e.question for e in real.examples(split)} for split in ("train", "validation", "test")]
    assert questions[0].isdisjoint(questions[2]) and questions[1].isdisjoint(questions[0] | questions[2])


def test_real_examples_are_sound_and_short(real: DDXPlus) -> None:
    lengths = []
    for example in real.examples("test"):
        assert example.distribution is not None
        assert sum(example.distribution.values()) == pytest.approx(1)
        assert min(example.distribution.values()) > 0
        assert {r.text for r in example.references} <= set(example.distribution)
        lengths.append(len(re.findall(r"\w+|[^\w\s]", example.question)))
    assert np.median(lengths) <= 60


def test_real_labels_and_names_are_all_different(real: DDXPlus, shared_data: Path) -> None:
    evidences = read_evidences(shared_data / "ddxplus" / "release_evidences.json")
    findings = in_order([f"{c}_@_{v}" if v else c for c, e in evidences.items() for v in e.values or ("",)], evidences)
    assert len(evidences) == 223
    assert len({f.label for f in findings}) == len(findings)
    assert not any("answers yes to" in e.statement or " you" in f" {e.statement}" for e in evidences.values())
    # A past illness must not look like an answer.
    assert {e.label.casefold() for e in evidences.values()}.isdisjoint(name.casefold() for name in real.conditions)


def test_real_conditions_are_49_and_no_alias_is_shared(shared_data: Path) -> None:
    conditions, _ = read_conditions(shared_data / "ddxplus" / "release_conditions.json")
    assert len(conditions) == 49
    owner: dict[str, str] = {}
    for condition, aliases in conditions.items():
        for name in (condition, *aliases):
            assert owner.setdefault(normalise(name), condition) == condition


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("Asthma exacerbation", "Bronchospasm / acute asthma exacerbation"),
        ("Pneumothorax", "Spontaneous pneumothorax"),
        ("Pancreatic cancer", "Pancreatic neoplasm"),
        ("lung cancer", "Pulmonary neoplasm"),
        ("Heart attack", "Possible NSTEMI / STEMI"),
        ("GORD", "GERD"),
        ("common cold", "URTI"),
        ("acute sinusitis", "Acute rhinosinusitis"),
        ("hay fever", "Allergic sinusitis"),
        ("COPD", "Acute COPD exacerbation / infection"),
        ("Angina", None),
        ("sinusitis", None),
    ],
)
def test_what_people_call_the_conditions(shared_data: Path, name: str, condition: str | None) -> None:
    conditions, _ = read_conditions(shared_data / "ddxplus" / "release_conditions.json")
    fitting = [c for c, aliases in conditions.items() if normalise(name) in map(normalise, (c, *aliases))]
    assert fitting == ([] if condition is None else [condition])
    assert all(len(aliases) > 1 for aliases in conditions.values())


def test_real_demonstrations_parse_clean(real: DDXPlus) -> None:
    rng = np.random.default_rng(0)
    for i, example in enumerate(real.examples("train", 200)):
        k, confidence = 1 + i % 5, i % 2 == 0
        text = real.demonstrate(example, k, confidence=confidence, rng=rng)
        answers = parse_answers(text, k, confidence=confidence)
        assert answers.is_clean, (text, answers.reason)
        assert len({a.text for a in answers.answers}) == k
        assert 10 <= len(re.findall(r"\w+", text.split("</think>")[0])) <= 45
