"""The score of one completion, and its terms. Needs no torch: python examples/score_one_completion.py."""

import polymode

COMPLETION = """<think>Fever, aches and a sudden start point to influenza; covid looks the same.</think>
<answer1>the Flu</answer1><confidence1>0.7</confidence1>
<answer2>COVID-19</answer2><confidence2>0.5</confidence2>
<answer3>influenza</answer3><confidence3>0.1</confidence3>"""

# Two right answers, each with the names it goes by.
REFERENCES = [["influenza", "flu"], ["covid", "covid 19", "covid-19"]]

score = polymode.reward_of(COMPLETION, REFERENCES, k=3, method="multi-rlcr")
print(f"status {score.answer_set.status.value}, total {score.total:.4f}")
for name, value in score.terms.items():
    print(f"  {name:<8} {value:+.4f}")
judged = zip(score.answer_set.answers, score.judgement.verdicts, score.judgement.hits, strict=True)
for answer, verdict, hit in judged:
    print(f"  {answer.text:<10} q = {answer.confidence:.1f}  {verdict.value}{'' if hit else ', but found already'}")
