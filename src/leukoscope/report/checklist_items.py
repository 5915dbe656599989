"""Items of three reporting guidelines, in our own words, each with the fact of a run that answers it, if any.

Numbers are those of STARD-AI 2025 (40 items, 48 rows), TRIPOD+AI 2024 (27 items, 52 rows) and CLAIM 2024 (44 items),
compared row by row with public copies of the three lists. Before submitting, compare with the published checklists,
which these do not replace.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """number and text of an item; fact: the name of what a run knows of it (see `checklists.run_facts`), or ""."""

    number: str
    text: str
    fact: str = ""


@dataclass(frozen=True)
class Checklist:
    """A guideline: its name, what it is for, where it was published, and its items."""

    name: str
    purpose: str
    source: str
    items: tuple[Item, ...]


def _items(text: str) -> tuple[Item, ...]:
    """`number | text | fact` in each line."""
    rows = [[part.strip() for part in line.split("|")] for line in text.strip().splitlines()]
    return tuple(Item(*row) for row in rows)


CLAIM = Checklist("CLAIM", "artificial intelligence in medical imaging",
                  "Tejani and others 2024, Radiol Artif Intell 6:e240300", _items("""
1 | Title or abstract says that AI is used, and which kind | network
2 | Abstract: design, methods, results and conclusions |
3 | Background, and the intended use in the clinic |
4 | Aims and hypotheses |
5 | Prospective or retrospective |
6 | Goal of the study |
7 | Sources of the data | sources
8 | Who and what was included and excluded | left_out
9 | Preprocessing of the images | input
10 | How subsets of the data were chosen | left_out
11 | How data were made anonymous |
12 | Missing data, and what was done about them | missing
13 | How images were acquired: stain, microscope, camera |
14 | Definition of the reference standard | labels
15 | Why this reference standard |
16 | Who labelled the cells, and with what training |
17 | How the test cells were labelled |
18 | Agreement within and between observers | agreement
19 | How cells were assigned to the parts | partition
20 | Level at which the parts are disjoint | disjoint
21 | Sample size, and how it was chosen | size
22 | The model: inputs, layers, outputs | network
23 | Software, libraries and packages | software
24 | How the weights were initialized | start
25 | Training: augmentation, optimizer, number of epochs | training
26 | How the final model was selected | selection
27 | Ensembles, if any | ensemble
28 | Measures of performance | measures
29 | Uncertainty and tests | uncertainty
30 | Robustness or sensitivity analysis | robustness
31 | Explanations of the answers | explanations
32 | Evaluation on internal data | result
33 | Evaluation on external data | external
34 | Registration of a trial |
35 | Numbers included and excluded, as a flow | flow
36 | Characteristics of the subjects in each part | subjects
37 | Performance in each part | result
38 | Accuracy with its precision | result
39 | Errors | errors
40 | Limitations | limits
41 | Implications for practice |
42 | Where the full protocol is | recipe
43 | Where software, model and data are | available
44 | Funding, and the role of funders |
"""))

TRIPOD = Checklist("TRIPOD+AI", "prediction models that use regression or machine learning",
                   "Collins and others 2024, BMJ 385:e078378", _items("""
1 | Title: development or evaluation of a model, the population and the outcome |
2 | Abstract |
3a | Health context, and why the model was developed |
3b | Target population and intended users |
3c | Known health inequalities |
4 | Objectives: development, evaluation or both |
5a | Sources of the data | sources
5b | Dates of collection |
6a | Setting |
6b | Eligibility |
6c | Treatments, and how they were handled |
7 | Preparation of the data and checks of quality | input
8a | The outcome that is predicted | classes
8b | Who assessed the outcome, and how | labels
8c | Blinding of the assessment |
9a | Choice of the predictors | input
9b | Definition of the predictors, and how they were measured | input
9c | Who assessed the predictors |
10 | Sample size, for development and evaluation | size
11 | Missing data | missing
12a | Which data were used for development and which for evaluation | partition
12b | How predictors were handled | input
12c | Type of model, how it was built and validated internally | training
12d | Differences between clusters, such as laboratories | laboratories
12e | Measures of performance | measures
12f | Updating of the model, if any |
12g | How predictions were calculated | ensemble
13 | Imbalance of the classes | balance
14 | Fairness |
15 | Output of the model, and thresholds | output
16 | Differences between training and evaluation data | external
17 | Ethical approval |
18a | Funding |
18b | Conflicts of interest |
18c | Protocol | recipe
18d | Registration |
18e | Availability of the data | available
18f | Availability of the code | available
19 | Involvement of patients and the public |
20a | Flow of participants | flow
20b | Characteristics of the participants | subjects
20c | Development and evaluation data compared | subjects
21 | Numbers of participants and outcomes in each analysis | size
22 | The full model, so that others can use it | available
23a | Performance with intervals | result
23b | Performance in clusters and subgroups | laboratories
24 | Results of updating, if any |
25 | Interpretation |
26 | Limitations | limits
27a | Input that is poor or missing in use | missing
27b | What users must do and know |
27c | Next steps |
"""))

STARD = Checklist("STARD-AI", "diagnostic accuracy of systems that use AI",
                  "Sounderajah and others 2025, Nat Med 31:3283", _items("""
1 | Title or abstract says that the study is of the diagnostic accuracy of AI, and names a measure of it | measures
2 | Abstract: design, methods, results and conclusions |
3 | Background, intended use of the index test, whether it is new, and its place in the workflow |
4 | Objectives and hypotheses |
5 | Whether data were collected before or after the two tests |
6 | Approval by an ethics committee, or why none was needed |
7 | Inclusion and exclusion in the order in which they were applied, of participants and of data | left_out
8 | How eligible participants were identified |
9 | Where and when they were identified |
10 | Consecutive, random or convenience series |
11 | Sources of the data: routine, collected for the study, or public | sources
12 | Who labelled the data, with what experience, and how | labels
13 | Devices that recorded the data; software that the index test was made with | software
14 | How images were acquired and preprocessed | input
15a | The index test, so that it can be repeated | algorithm
15b | How it was developed: training, validation, test and external evaluation, with numbers | development
15c | Thresholds or categories of the index test, chosen before or after seeing the data | output
15d | Who is to use it, and with what expertise |
16a | The reference standard, so that it can be repeated | labels
16b | Why this reference standard |
16c | Thresholds or categories of the reference standard | classes
17a | Whether clinical data and the reference were known to the index test or its readers | blind
17b | Whether clinical data and the index test were known to those who set the reference |
18 | How accuracy was estimated or compared | uncertainty
19 | How indeterminate results were handled | doubt
20 | How missing data were handled | missing
21 | Analyses of the variation of accuracy, planned or exploratory | laboratories
22 | Sample size, and how it was chosen | size
23 | Analysis of errors, bias and fairness | errors
24 | Flow of participants, as a diagram | flow
25 | Characteristics of the participants and data in training, validation and test | subjects
26a | Severity of disease in those who have it |
26b | Other diagnoses in those who do not |
27 | Time and treatments between the two tests |
28 | Whether the data are like those of the intended population |
29 | How an external test set differs from the training, validation and test sets | external
30 | Index test against reference, as a table | confusion
31 | Accuracy with its precision | result
32 | Adverse events |
33 | Limitations: bias, uncertainty, how far results carry over | limits
34 | Implications for practice, intended use |
35 | Ethics of using the index test, fairness |
36 | Registration |
37 | Where the full protocol is | recipe
38 | Funding, and the role of funders |
39 | Commercial interests |
40a | Availability of data and code | available
40b | Whether outputs are stored and can be audited | stored
"""))

CHECKLISTS = (STARD, TRIPOD, CLAIM)
