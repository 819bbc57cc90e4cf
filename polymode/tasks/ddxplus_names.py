"""What people call the 49 conditions of DDXPlus in English; beside the release's own English and French names.

A name stands under one condition only. Spelling (case, accents, hyphens, plurals) is the verifier's business. A name
that is wider than its condition stands here when it fits no other of the 49 (COPD, hernia), and nowhere when it fits
two of them (angina, sinusitis).
"""

from __future__ import annotations

_TABLE = """
Spontaneous pneumothorax: pneumothorax; primary spontaneous pneumothorax; collapsed lung; PTX
Cluster headache: cluster headache attack; trigeminal autonomic cephalalgia
Boerhaave: Boerhaave syndrome; Boerhaave's syndrome; esophageal rupture; oesophageal rupture; esophageal perforation;\
 oesophageal perforation; spontaneous esophageal rupture; ruptured esophagus
Spontaneous rib fracture: rib fracture; fractured rib; broken rib; pathological rib fracture; stress fracture of a rib
GERD: gastroesophageal reflux disease; gastro-oesophageal reflux disease; GORD; gastroesophageal reflux;\
 gastro-oesophageal reflux; acid reflux; reflux disease; reflux esophagitis
HIV (initial infection): acute HIV infection; primary HIV infection; initial HIV infection; acute HIV; primary HIV;\
 HIV seroconversion; acute retroviral syndrome; HIV initial infection; acute HIV syndrome; early HIV infection;\
 HIV; HIV infection
Anemia: anaemia
Viral pharyngitis: pharyngitis; acute pharyngitis; acute viral pharyngitis; viral sore throat;\
 viral throat infection
Inguinal hernia: groin hernia; hernia
Myasthenia gravis: MG; myasthenia
Whooping cough: pertussis; Bordetella pertussis; Bordetella pertussis infection
Anaphylaxis: anaphylactic shock; anaphylactic reaction; severe allergic reaction
Epiglottitis: acute epiglottitis; supraglottitis
Guillain-Barré syndrome: Guillain-Barré; GBS; acute inflammatory demyelinating polyneuropathy; AIDP
Acute laryngitis: laryngitis; viral laryngitis; acute viral laryngitis
Croup: laryngotracheitis; laryngotracheobronchitis; acute laryngotracheitis; acute laryngotracheobronchitis; viral croup
PSVT: paroxysmal supraventricular tachycardia; supraventricular tachycardia; SVT
Atrial fibrillation: AF; AFib; A-fib; atrial flutter; atrial fibrillation/flutter; auricular fibrillation
Bronchiectasis: bronchiectases
Allergic sinusitis: allergic rhinitis; allergic rhinosinusitis; hay fever; seasonal allergies; nasal allergies
Chagas: Chagas disease; Chagas' disease; American trypanosomiasis; Trypanosoma cruzi infection
Scombroid food poisoning: scombroid; scombroid poisoning; scombroid fish poisoning; histamine fish poisoning;\
 histamine poisoning; scombrotoxin poisoning
Myocarditis: acute myocarditis
Larygospasm: laryngospasm; laryngeal spasm; vocal cord spasm
Acute dystonic reactions: acute dystonic reaction; acute dystonia; dystonic reaction; drug-induced dystonia;\
 acute drug-induced dystonia; dystonia
Localized edema: localised oedema; edema; oedema; peripheral edema; peripheral oedema; localized swelling
SLE: systemic lupus erythematosus; lupus; lupus erythematosus
Tuberculosis: TB; pulmonary tuberculosis; active tuberculosis; pulmonary TB
Unstable angina: unstable angina pectoris; crescendo angina
Stable angina: stable angina pectoris; angina of exertion; exertional angina; chronic stable angina
Ebola: Ebola virus disease; Ebola virus; EVD; Ebola hemorrhagic fever; Ebola haemorrhagic fever; Ebola virus infection
Acute otitis media: otitis media; AOM; middle ear infection; acute middle ear infection; ear infection
Panic attack: panic disorder; acute panic attack; anxiety attack; panic
Bronchospasm / acute asthma exacerbation: bronchospasm; acute asthma exacerbation; asthma exacerbation; asthma;\
 asthma attack; acute asthma; exacerbation of asthma; acute exacerbation of asthma; acute asthma attack;\
 bronchial asthma
Bronchitis: acute bronchitis; chest cold; viral bronchitis
Acute COPD exacerbation / infection: acute COPD exacerbation; acute exacerbation of COPD; COPD exacerbation;\
 exacerbation of COPD; AECOPD; COPD; acute COPD infection; COPD infection; COPD flare;\
 acute exacerbation of chronic obstructive pulmonary disease; chronic obstructive pulmonary disease exacerbation;\
 chronic obstructive pulmonary disease
Pulmonary embolism: PE; pulmonary embolus; pulmonary thromboembolism; lung embolism; acute pulmonary embolism
URTI: upper respiratory tract infection; upper respiratory infection; URI; common cold; cold;\
 viral upper respiratory infection; viral upper respiratory tract infection; acute upper respiratory infection
Influenza: flu; the flu; influenza infection; seasonal influenza; influenza-like illness; possible influenza
Pneumonia: community-acquired pneumonia; CAP; bacterial pneumonia; lobar pneumonia
Acute rhinosinusitis: acute sinusitis; acute bacterial sinusitis; acute bacterial rhinosinusitis; acute sinus infection
Chronic rhinosinusitis: chronic sinusitis; chronic sinus infection; CRS
Bronchiolitis: acute bronchiolitis; viral bronchiolitis; RSV bronchiolitis
Pulmonary neoplasm: lung cancer; lung neoplasm; pulmonary malignancy; lung tumor; lung tumour; pulmonary tumor;\
 pulmonary cancer; lung carcinoma; bronchogenic carcinoma; lung malignancy; pulmonary tumour
Possible NSTEMI / STEMI: NSTEMI / STEMI; STEMI / NSTEMI; NSTEMI; STEMI; myocardial infarction; heart attack; MI;\
 acute myocardial infarction; AMI; possible NSTEMI; possible STEMI; non-ST-elevation myocardial infarction;\
 ST-elevation myocardial infarction; non-ST-segment elevation myocardial infarction;\
 ST-segment elevation myocardial infarction
Sarcoidosis: sarcoid; pulmonary sarcoidosis
Pancreatic neoplasm: pancreatic cancer; pancreatic tumor; pancreatic tumour; pancreatic carcinoma;\
 pancreatic adenocarcinoma; cancer of the pancreas; pancreatic malignancy; neoplasm of the pancreas
Acute pulmonary edema: acute pulmonary oedema; pulmonary edema; pulmonary oedema; flash pulmonary edema;\
 cardiogenic pulmonary edema
Pericarditis: acute pericarditis
"""

ALIASES: dict[str, tuple[str, ...]] = {
    name: tuple(alias.strip() for alias in aliases.split(";"))
    for name, aliases in (line.split(": ", 1) for line in _TABLE.strip().splitlines())
}
"""Further English names of each condition, by its English name in the release."""
