"""Knowledge base of the lab's clinic: how often each finding occurs in each condition.

Hand-written for teaching and for measuring; the numbers are round guesses by textbook impression, not medical advice
and not taken from any data set. Findings that a condition does not list occur at the background rate.
"""

from __future__ import annotations

from dataclasses import dataclass

AGE_BANDS: tuple[tuple[str, int, int], ...] = (("child", 3, 15), ("young", 16, 39), ("middle", 40, 64), ("old", 65, 90))
"""Name, youngest and oldest age in years; bands are equally likely and ages uniform within a band."""

BACKGROUND_RATE = 0.02
"""Frequency of a finding in a condition that does not list it."""

COMMON_BACKGROUND: dict[str, float] = {"fatigue": 0.10, "headache": 0.08, "poor sleep": 0.06, "cough": 0.04}
"""Findings that are common in anybody."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: how common it is, in whom, and with which findings."""

    name: str
    weight: float
    """Relative frequency among patients of an average age and sex."""
    ages: tuple[float, float, float, float]
    """Factor per age band: child, young, middle, old."""
    female: float
    """Factor for women; men get 2 - female."""
    findings: dict[str, float]
    """Frequency of each listed finding in patients with this condition."""


_TABLE = """
# Airways and throat
cold | 9 | 1.5 1 .8 .7 | 1.0 | runny nose 85, sneezing 65, sore throat 55, cough 50, headache 25, fatigue 30
influenza | 6 | 1.1 1.1 .9 .9 | 1.0 | fever 85, chills 60, muscle aches 75, cough 65, fatigue 70, headache 50,\
 sore throat 35
covid | 6 | .7 1.1 1.1 1.1 | 1.0 | fever 60, cough 60, fatigue 60, loss of smell 45, muscle aches 45, headache 40,\
 sore throat 40, breathlessness 25, runny nose 30
bronchitis | 5 | .7 .9 1.1 1.3 | 1.0 | cough 90, phlegm 65, wheeze 30, fatigue 35, breathlessness 25, fever 20,\
 chest tightness 25
pneumonia | 4 | .9 .7 1 1.4 | 0.9 | cough 80, fever 75, phlegm 60, breathlessness 55, chills 45,\
 pain on breathing 40, fatigue 50, confusion 10
asthma | 5 | 1.5 1.2 .8 .5 | 1.0 | wheeze 80, breathlessness 70, chest tightness 60, cough 55, poor sleep 25
emphysema | 3 | .05 .2 1.2 2.5 | 0.8 | breathlessness 80, cough 65, phlegm 50, wheeze 50, weight loss 20,\
 chest tightness 25, fatigue 35
sinusitis | 4 | .8 1.2 1.1 .9 | 1.1 | facial pain 75, runny nose 60, headache 55, loss of smell 35, fever 20,\
 cough 25
tonsillitis | 4 | 2.2 1.4 .3 .1 | 1.0 | sore throat 90, fever 65, swollen glands 60, painful swallowing 65,\
 headache 25
hayfever | 5 | 1.2 1.5 .8 .5 | 1.0 | sneezing 80, itchy eyes 75, runny nose 75, tearing 40, loss of smell 20
# Heart and chest
angina | 3 | .02 .2 1.5 2.3 | 0.7 | chest pressure 85, breathlessness 40, arm pain 35, sweating 20, fatigue 25
infarction | 3 | .01 .2 1.5 2.3 | 0.7 | chest pressure 80, arm pain 50, sweating 60, nausea 40, breathlessness 45,\
 pallor 30, anxiety 25
heart failure | 3 | .05 .15 1 2.8 | 1.0 | breathlessness 80, swollen ankles 70, fatigue 60, breathless lying 50,\
 cough 25, weight gain 30
embolism | 2 | .05 .7 1.2 2 | 1.1 | breathlessness 75, pain on breathing 60, one leg swollen 40, coughing blood 20,\
 palpitations 35, anxiety 25
panic attack | 4 | .4 2 1.1 .5 | 1.3 | palpitations 75, anxiety 85, sweating 50, tingling 45, breathlessness 50,\
 dizziness 45, chest tightness 40, tremor 35
reflux | 5 | .3 1 1.4 1.3 | 1.0 | heartburn 85, acid taste 60, cough 20, hoarseness 20, upper belly pain 35,\
 chest pressure 20
# Belly
gastroenteritis | 6 | 1.6 1.2 .7 .5 | 1.0 | diarrhea 85, vomiting 65, nausea 70, cramps 60, fever 40,\
 loss of appetite 40
food poisoning | 4 | 1 1.3 1 .7 | 1.0 | vomiting 80, nausea 80, diarrhea 65, cramps 65, sweating 20, fever 20
appendicitis | 3 | 1.8 1.6 .4 .2 | 0.9 | right belly pain 85, nausea 60, loss of appetite 65, vomiting 45, fever 45
gallstones | 3 | .05 .7 1.7 1.6 | 1.4 | upper belly pain 80, pain after fat 60, nausea 55, vomiting 35, jaundice 15,\
 fever 15, back pain 25
pancreatitis | 2 | .1 .8 1.8 1.3 | 0.8 | upper belly pain 90, vomiting 60, nausea 65, back pain 55, fever 25,\
 sweating 25
ulcer | 3 | .1 .9 1.4 1.6 | 0.9 | upper belly pain 80, heartburn 40, nausea 35, dark stools 25, loss of appetite 30,\
 bloating 25
irritable bowel | 4 | .4 1.7 1.1 .6 | 1.4 | cramps 75, bloating 70, diarrhea 50, constipation 50, anxiety 25
# Head and nerves
migraine | 5 | .6 1.8 1.2 .4 | 1.5 | headache 95, light sensitivity 70, nausea 60, visual aura 30, vomiting 30,\
 dizziness 20
tension headache | 5 | .6 1.4 1.3 .8 | 1.2 | headache 95, neck pain 50, poor sleep 30, light sensitivity 15,\
 anxiety 20
meningitis | 1.5 | 1.8 1.3 .6 .6 | 1.0 | fever 85, headache 80, stiff neck 75, light sensitivity 50, vomiting 45,\
 confusion 35, rash 25
vertigo | 3 | .2 .8 1.4 1.6 | 1.3 | spinning 90, dizziness 70, nausea 55, vomiting 25
# Kidneys and bladder
cystitis | 5 | .5 1.5 1 1 | 1.8 | burning urination 85, frequent urination 75, blood in urine 25, cramps 20
pyelonephritis | 2 | .5 1.4 1 1.1 | 1.7 | fever 80, flank pain 75, chills 55, burning urination 50,\
 frequent urination 40, nausea 40, vomiting 30
kidney stones | 3 | .1 1.2 1.5 1.2 | 0.7 | flank pain 90, blood in urine 55, nausea 50, vomiting 35,\
 burning urination 25, sweating 20
# Whole body
anemia | 4 | .7 1.1 .9 1.3 | 1.4 | fatigue 85, pallor 65, dizziness 45, breathlessness 35, palpitations 30,\
 headache 25
hypothyroidism | 3 | .2 .8 1.4 1.6 | 1.6 | fatigue 75, weight gain 60, cold intolerance 60, dry skin 50,\
 constipation 40, low mood 35, hair loss 30
hyperthyroidism | 2 | .1 1.4 1.3 1.2 | 1.6 | weight loss 65, palpitations 65, heat intolerance 60, tremor 55,\
 anxiety 45, diarrhea 25, sweating 45, poor sleep 35
diabetes | 4 | .6 .6 1.4 1.4 | 0.9 | thirst 75, frequent urination 75, fatigue 50, weight loss 45, tingling 20
depression | 5 | .4 1.4 1.2 1 | 1.3 | low mood 90, poor sleep 70, fatigue 65, loss of appetite 40, weight loss 20,\
 anxiety 35
burnout | 3 | .05 1.5 1.8 .2 | 1.1 | fatigue 85, poor sleep 65, low mood 45, anxiety 50, headache 35, palpitations 15
"""
"""Name | weight | factor per age band | factor for women | findings with their percentages."""


def _condition(line: str) -> Condition:
    name, weight, ages, female, findings = (cell.strip() for cell in line.split("|"))
    child, young, middle, old = map(float, ages.split())
    percentages = (entry.rsplit(maxsplit=1) for entry in findings.split(", "))
    return Condition(
        name, float(weight), (child, young, middle, old), float(female), {f: int(p) / 100 for f, p in percentages}
    )


CONDITIONS: tuple[Condition, ...] = tuple(
    _condition(line) for line in _TABLE.strip().splitlines() if not line.startswith("#")
)

FINDINGS: tuple[str, ...] = tuple(sorted({name for condition in CONDITIONS for name in condition.findings}))
"""Every finding that some condition lists."""
