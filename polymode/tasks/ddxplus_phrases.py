"""DDXPlus interview questions as English: a statement about the patient, and a short label.

A question becomes a statement by rule (``Do you have a cough?`` -> ``has a cough``); questions that the rule cannot
turn well have theirs in ``_TABLE``. A label keeps the first telling words of the question, as many as are needed to
tell it from all the others; where those would mislead, the table has a better one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_ADVERBS = r"(?P<adverbs>(?:ever |\w+ly )*)"
_RULES: tuple[tuple[str, str], ...] = (
    (r"\bdoes the person have\b", "has"),
    (r"\bhave you (?:ever )?", "has "),
    (r"\bare you\b", "is"),
    (r"\bwere you\b", "was"),
    (r"\bdid you lose\b", "lost"),
    (r"\bdid you vomit\b", "vomited"),
    (r"\bdid you eat\b", "ate"),
    (r"\bare there (?:any )?", "there are "),
    (r"\bany (?=family|close|vaginal|new|unusual|lesions|antipsychotic)", ""),
    (r"\banyone\b", "someone"),
    (r"\b(wake|keeping|as) you\b", r"\1 them"),
    (r"\byour\b", "their"),
    (r"\byou're\b", "they are"),
    (r"\byou\b", "they"),
    (r"\bin in\b", "in"),
)
"""Applied in this order, after the verb of ``do you <verb>`` was inflected. The subject, the patient, is left out."""
_STATEMENT_START = re.compile(r"(?:has|is|was|lost|vomited|ate|there are|in the last|\w+ly|[a-z]+s) ")

_TABLE = """
Do you feel pain somewhere | pain at | location of the pain
Do you have pain somewhere | pain
pain radiate | pain radiating to | the pain radiates to
Characterize your pain | pain like | character of the pain
How fast did the pain | pain onset | how fast the pain appeared, from 0 to 10
How intense is the pain? | pain intensity | intensity of the pain, from 0 to 10
How precisely is the pain | pain precision | how precisely the pain is located, from 0 to 10
affected region located | rash at | location of the affected skin
lesions, redness or problems on your skin | rash
color is the rash | rash color | color of the rash
pain caused by the rash | rash pain | intensity of the pain caused by the rash, from 0 to 10
rash swollen | rash swelling | swelling of the rash, from 0 to 10
severe is the itching | rash itching | severity of the itching, from 0 to 10
larger than 1cm | rash large | lesions larger than 1 cm
lesions peel off | rash peeling | lesions peel off
swelling located | swelling at | location of the swelling
swelling in one or more areas | swelling
traveled out of the country | travel | travel out of the country in the last 4 weeks
lose consciousness | lost consciousness
thrown up blood | vomiting blood
diarrhea | diarrhea
stools that were black | black stools
paler than usual | pale skin | skin is much paler than usual
heart is beating fast | palpitations
constantly feel fatigued | fatigue
more irritable | irritable | is more irritable or has had a very unstable mood recently
lightheaded and dizzy | faintness
nauseous or do you feel | nausea
increased when you breathe | pain on breathing in
recently had a loss of appetite | early fullness
light red blood | blood in stool
burning sensation that starts in your stomach | heartburn
improves when you lean forward | pain better leaning forward
increased with physical exertion | worse on exertion
tingling in the feet | numb feet
shortness of breath or difficulty breathing in | shortness of breath
abdomen is bloated | bloated abdomen
excessive tears | watery eyes
clear runny nose | runny nose
unable to do your usual activities | exhaustion
violent and sustained muscle contractions | seizure
one side of the face | face weakness one side
widespread) muscle pain | muscle pain
pain that is increased with movement | pain on movement
worse when lying down | worse lying down | symptoms are worse when lying down and alleviated while sitting up
worse after eating | worse after eating
minimal physical effort | breathless on mild effort
gained weight | weight gain
increased sweating | sweating
consulting because you have high blood pressure | consults for high blood pressure
difficulty swallowing | difficulty swallowing | has difficulty swallowing, or a feeling of discomfort or blockage\
 when swallowing
redness in one or both eyes | red eyes
inability to open your mouth | jaw locked | suddenly has difficulty or an inability to open the mouth, or jaw pain\
 when opening it
articulating words | slurred speech
suffocating for a very short time | brief suffocation
more saliva | excess saliva
confused or disorientated | confusion
tone of your voice | voice change
mouth ulcers | mouth ulcers
double vision | double vision
coughing fits | coughing fits
weakness in your jaw | jaw pain or weakness
raising one or both eyelids | drooping eyelids
both arms and/or both legs | weak arms or legs
symptoms of muscle weakness increase | weakness with fatigue | muscle weakness increases with fatigue or stress
vomited several times | repeated vomiting
vomit after coughing | vomiting after cough
wheeze while inhaling | wheeze breathing in | wheezes while inhaling or breathes noisily after coughing spells
unusual bleeding | bleeding or bruising
coughing up blood | coughing blood
high pitched sound | stridor
facial muscles | weak facial muscles
around your mouth | numb limbs and mouth
paralysis in one or more | limb or face paralysis | has or had weakness or paralysis in one or more limbs or in the face
something that you have an allergy to | allergen contact
wheezing sound when you exhale | wheeze breathing out
pass stools or gas | passes stool or gas
decrease in appetite | poor appetite
forcing a bowel movement | worse on straining | symptoms or pain increase with coughing, with an effort like lifting\
 a weight or from forcing a bowel movement
more prominent at night | worse at night | symptoms are more prominent at night
surgery within the last month | recent surgery
severe itching in one or both eyes | itchy eyes
colored or more abundant sputum | colored sputum
worsened over the last 2 weeks | worse over 2 weeks
chest pain even at rest | chest pain at rest
throat itchy | itchy nose or throat | nose or the back of the throat is itchy
tingling anywhere | numbness anywhere | has or had numbness, loss of sensitivity or tingling somewhere on the body
change in your general well-being | unwell
unintentionally losing weight | weight or appetite loss
long menstruation | heavy periods
cheeks suddenly turn red | flushed cheeks | cheeks suddenly turned red
keeping you from turning your head | stiff neck
pale stools | pale stools dark urine
beating very irregularly | irregular heartbeat
annoying muscle spasms | muscle spasms
tongue in your mouth | tongue protruding
direction of your eyes | no eye control
wake you up at night | choking at night
drink alcohol | alcohol excess
detached from your own body | feels detached
about do die | fear of dying | feels like dying or was afraid of being about to die
nasal discharge | green nasal discharge
sense of smell | lost smell
stop breathing while | stops breathing asleep
had a heart attack | heart attack or angina
take medications to treat high blood pressure | high blood pressure | has high blood pressure or takes medications to\
 treat it
take medications to treat high cholesterol | high cholesterol | has high cholesterol or takes medications to treat it
person with similar symptoms | contact with similar symptoms
pregnant? | pregnant
significantly overweight | overweight
dilates your blood vessels | vasodilator
had a migraine | migraine or in family | has had a migraine, or a family member is known to have migraines
develop common allergies | prone to allergies
daycare | daycare | attends or works in a daycare
bronchodilator | asthma
cold in the last 2 weeks | recent cold
4 or more people | lives with many
immunodeficiency virus | hiv infected
ulcerative colitis | crohn or colitis
4 times per week | exercises often
BMI less | underweight | has a BMI below 18.5 or is underweight
HIV-positive partner | hiv positive partner
born prematurely | premature birth | was born prematurely or suffered a complication at birth
oral antibiotic for an ear | antibiotic for ear infection
vaccinations up to date | vaccinated | vaccinations are up to date
severe Chronic Obstructive | severe copd
have a chronic obstructive pulmonary | copd
flare ups of chronic obstructive | copd flare
heart valves | heart valve problem
energy drinks | energy drinks
decongestants | decongestants
ever had croup | croup or in family | has had croup, or a family member has
more than 3 consecutive days | recent immobility
big city | lives in city
hay fever or eczema | family allergies
before the age of 12 | early first period | had the first menstrual period before the age of 12
breastfed | breastfed long
endocrine disease | endocrine disease
dark-fleshed fish | ate tuna or cheese
secondhand | secondhand smoke
antipsychotic | antipsychotic recently
agitation, intoxication | treated for agitation
remove lymph nodes | lymph node surgery
retain proteins | kidney protein loss
psychiatric illness | family psychiatric illness | an immediate family member has a psychiatric illness
cardiovascular disease problem | family heart disease
Ebola virus | ebola contact
hospitalized for an asthma | hospital for asthma
2 or more asthma attacks | repeated asthma attacks
mining | works in mining
agriculture | works in agriculture
construction | works in construction
suburbs | lives in suburbs
rural | lives rural
swollen or painful lymph | swollen lymph nodes
slightly dizzy | slight dizziness
choking or suffocating | choking
chills or shivers | chills
involuntary weight loss | weight loss
polyps | nasal polyps
fluid in your lungs | past fluid in lungs
whooping cough | whooping
pertussis | contact with pertussis
coffee or tea | coffee or tea
smoke cigarettes | smoker
oral anticoagulants ((NOACs | new oral anticoagulants | is taking new oral anticoagulants (NOACs)
calcium channel blockers | calcium channel blockers | takes calcium channel blockers (medication)
had a pneumothorax | family pneumothorax | a family member has had a pneumothorax
family members been diagnosed with cluster headaches | family cluster headaches | a family member has been diagnosed\
 with cluster headaches
mother suffer from asthma | mother asthma | mother suffers from asthma
# Past illnesses that are also answers: the label must not look like one.
ever had pneumonia | past pneumonia
ever had a pericarditis | past pericarditis
ever had a spontaneous pneumothorax | past spontaneous pneumothorax
had a diagnosis of anemia | past anemia
"""
"""Fragment of a question | its label | its statement, where the rules would not turn it well."""
_WORDINGS = [tuple(line.split(" | ")) for line in _TABLE.strip().splitlines() if not line.startswith("#")]

_FILLER_WORDS = """
a about after all an and any anyone are as associated at be because been being by currently diagnosed diagnosis did
do does ever experiencing feel feeling for from get had has have having how if in into is issue it known like may
members member more most noticed now of on one or other past people previously problem recently regularly related
several some someone started suffer suffered taken taking take than that the their there these this to treated
treating undergo using usual very was were what when where which while who with within you your
"""
_FILLER = frozenset(_FILLER_WORDS.split())


def statement_of(question: str) -> str:
    """An English question to the patient as a statement about the patient, without subject.

    A question that no rule turns is quoted as answered with yes.
    """
    question = _tidy(question)
    for fragment, _, *statement in _WORDINGS:
        if statement and fragment in question:
            return statement[0]
    text = question.rstrip("?: ")
    text = re.sub(rf"\bdo you {_ADVERBS}(?P<verb>[a-z]+)", _inflect, text[:1].lower() + text[1:])
    for pattern, replacement in _RULES:
        text = re.sub(pattern, replacement, text)
    return text if _STATEMENT_START.match(text) else f'answers yes to "{question}"'


def short_labels(questions: Sequence[str]) -> list[str]:
    """A short name per English question, all different: its first three telling words, more while two are equal."""
    tidy = [_tidy(question) for question in questions]
    fixed = [next((label for fragment, label, *_ in _WORDINGS if fragment in q), "") for q in tidy]
    fixed = [label if fixed.count(label) == 1 else "" for label in fixed]
    telling = [_telling_words(question) for question in tidy]
    labels = [label or " ".join(w[:3]) or "finding" for label, w in zip(fixed, telling, strict=True)]
    for size in range(4, max(map(len, telling), default=0) + 1):
        labels = [
            label if keep or labels.count(label) == 1 else " ".join(w[:size])
            for label, keep, w in zip(labels, fixed, telling, strict=True)
        ]
    counts: Counter[str] = Counter()
    for i, label in enumerate(labels):  # equal questions: number the repeats
        counts[label] += 1
        if counts[label] > 1:
            labels[i] = f"{label} {counts[label]}"
    return labels


def _tidy(question: str) -> str:
    return " ".join(question.replace("’", "'").split())


def _inflect(match: re.Match[str]) -> str:
    """``do you regularly take`` -> ``regularly takes``."""
    verb = match["verb"]
    if verb == "have":
        verb = "has"
    else:
        verb += "es" if verb.endswith(("s", "x", "ch", "sh", "o")) else "s"
    return match["adverbs"].replace("ever ", "") + verb


def _telling_words(question: str) -> list[str]:
    text = re.sub(r"\([^)]*\)", " ", question.lower()).replace("-", " ")
    return [word for word in re.findall(r"[a-z0-9.]+(?:'[a-z]+)?", text) if word not in _FILLER]
