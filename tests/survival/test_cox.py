"""Cox models against printed values of R, DeepSurv's WHAS split and lifelines."""

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.concordance import concordance_index
from pipeline.survival.cox import breslow_log_likelihood, efron_log_likelihood, fit_cox, likelihood_ratio_p


def veterans():
    from sksurv.datasets import load_veterans_lung_cancer

    return load_veterans_lung_cancer()


def test_veterans_agree_with_r():
    # R survival, coxph(Surv(time, status) ~ trt + celltype + age, data = veteran), printed
    # at stats.stackexchange.com/questions/498946: concordance 0.619, likelihood ratio 26.04 on 5 df.
    table, outcome = veterans()
    expected = {"trt": 0.179011, "smallcell": 1.080310, "adeno": 1.170470, "large": 0.292624}
    columns = [table["Treatment"] == "test"]
    columns += [table["Celltype"] == level for level in ("smallcell", "adeno", "large")]
    matrix = np.column_stack([*columns, table["Age_in_years"]]).astype(float)
    time, event = outcome["Survival_in_days"], outcome["Status"]
    fit = fit_cox(matrix, time, event)
    assert fit.coefficients[:4] == pytest.approx(list(expected.values()), abs=2e-6)
    assert fit.coefficients[4] == pytest.approx(0.004097, abs=1e-6)
    assert 2 * (fit.log_likelihood - fit.null) == pytest.approx(26.04, abs=0.005)
    assert likelihood_ratio_p(fit, 5) == pytest.approx(9e-5, abs=5e-6)
    c_index = concordance_index(time, event.astype(float), matrix @ fit.coefficients)
    assert c_index == pytest.approx(0.619, abs=5e-4)


def test_breslow_ties_of_veterans_agree_with_scikit_survivals_user_guide():
    # scikit-survival user guide, "Introduction to survival analysis": coefficients of all
    # columns and concordance 0.7362562471603816. Breslow's likelihood is highest there.
    table, outcome = veterans()
    guide = {
        "Age_in_years": -0.008549,
        "Celltype=large": -0.788672,
        "Celltype=smallcell": -0.331813,
        "Celltype=squamous": -1.188299,
        "Karnofsky_score": -0.032622,
        "Months_from_Diagnosis": -0.000092,
        "Prior_therapy=yes": 0.072327,
        "Treatment=test": 0.289936,
    }
    columns = []
    for name in guide:
        column, _, level = name.partition("=")
        columns.append(table[column] == level if level else table[column])
    matrix = np.column_stack(columns).astype(float)
    time, event = outcome["Survival_in_days"], outcome["Status"]
    beta = np.array(list(guide.values()))
    assert concordance_index(time, event.astype(float), matrix @ beta) == pytest.approx(0.73626, abs=2e-4)
    steps = np.eye(8) * 0.05 / matrix.std(axis=0)
    around = np.column_stack([matrix @ beta, *(matrix @ (beta + s) for s in (*steps, *-steps))])
    values = breslow_log_likelihood(around, time, event)
    assert values[0] > values[1:].max()


def test_gbsg2_agrees_with_r():
    # R survival, coxph(Surv(time, cens) ~ ., data = GBSG2), printed in Everitt and Hothorn, A
    # Handbook of Statistical Analyses Using R, chapter on survival analysis (package HSAUR): 686
    # women, 299 events, likelihood ratio 104.8 on 9 df, concordance 0.692. tgrade is ordered:
    # linear and quadratic contrasts.
    from sksurv.datasets import load_gbsg2

    table, outcome = load_gbsg2()
    expected = {
        "horThyes": -0.3462784,
        "age": -0.0094592,
        "menostatPost": 0.2584448,
        "tsize": 0.0077961,
        "tgrade.L": 0.5512988,
        "tgrade.Q": -0.2010905,
        "pnodes": 0.0487886,
        "progrec": -0.0022172,
        "estrec": 0.0001973,
    }
    grade = np.array([["I", "II", "III"].index(g) for g in table["tgrade"]]) - 1.0
    columns = [table["horTh"] == "yes", table["age"], table["menostat"] == "Post", table["tsize"]]
    columns += [grade / np.sqrt(2), (3 * grade**2 - 2) / np.sqrt(6)]
    matrix = np.column_stack([*columns, table["pnodes"], table["progrec"], table["estrec"]]).astype(float)
    time, event = outcome["time"], outcome["cens"]
    fit = fit_cox(matrix, time, event)
    assert fit.coefficients == pytest.approx(list(expected.values()), abs=6e-8)
    assert 2 * (fit.log_likelihood - fit.null) == pytest.approx(104.8, abs=0.06)
    c_index = concordance_index(time, event.astype(float), matrix @ fit.coefficients)
    assert c_index == pytest.approx(0.692, abs=5e-4)


def test_breslow_ties_of_whas500_agree_with_sas():
    # SAS proc phreg, model lenfol*fstat(0) = gender age, Breslow's ties, printed in UCLA's "Introduction
    # to survival analysis in SAS": −2 log L 2455.158 without, 2313.140 with covariates;
    # gender −0.06556, age 0.06683.
    from sksurv.datasets import load_whas500

    table, outcome = load_whas500()
    matrix = np.column_stack([table["gender"], table["age"]]).astype(float)
    time, event = outcome["lenfol"], outcome["fstat"]
    beta = np.array([-0.06556, 0.06683])
    steps = [np.zeros(2), -beta, [0.01, 0], [-0.01, 0], [0, 4e-4], [0, -4e-4]]
    risks = np.column_stack([matrix @ (beta + step) for step in steps])
    values = -2 * breslow_log_likelihood(risks, time, event)
    assert values[:2] == pytest.approx([2313.140, 2455.158], abs=1e-3)
    assert values[0] < values[2:].min()
    # Efron's likelihood, which this package maximises, lies close by.
    assert fit_cox(matrix, time, event).coefficients == pytest.approx(beta, abs=1e-3)


def test_gehan_agrees_with_r():
    # R: coxph(Surv(time, cens) ~ treat, gehan) gives 1.572 (Efron), 1.509 with Breslow's ties
    # (Venables and Ripley, Modern Applied Statistics with S, sec. 13.3; Freireich 1963).
    treated = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
    placebo = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"
    entries = f"{treated} {placebo}".split()
    time = np.array([float(entry.rstrip("+")) for entry in entries])
    event = np.array([not entry.endswith("+") for entry in entries])
    group = np.repeat([0.0, 1.0], 21)
    assert fit_cox(group[:, None], time, event).coefficients[0] == pytest.approx(1.572, abs=5e-4)
    grid = np.linspace(1, 2, 1001)
    best = grid[np.argmax(breslow_log_likelihood(group[:, None] * grid, time, event))]
    assert best == pytest.approx(1.509, abs=1e-3)


@pytest.mark.parametrize("name", ["gbsg2", "whas500", "flchain", "veterans_lung_cancer"])
def test_agrees_with_lifelines(name):
    # lifelines fits by another implementation of the same likelihood.
    from lifelines import CoxPHFitter
    from sksurv import datasets

    table, outcome = getattr(datasets, f"load_{name}")()
    event, time = (outcome[f] for f in outcome.dtype.names)
    numbers = table.select_dtypes("number").fillna(table.select_dtypes("number").median())
    if name == "flchain":  # deaths on the day of enrolment, and 7,874 patients
        numbers, event, time = numbers[:1500], event[:1500], time[:1500] + 1
    matrix = ((numbers - numbers.mean()) / numbers.std()).to_numpy()
    ours = fit_cox(matrix, time, event)
    frame = pd.DataFrame(matrix).assign(time=time, event=event)
    theirs = CoxPHFitter().fit(frame, "time", "event")
    assert ours.coefficients == pytest.approx(theirs.params_.to_numpy(), abs=2e-5)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood_, abs=1e-4)
    c_index = concordance_index(time, event.astype(float), matrix @ ours.coefficients)
    assert c_index == pytest.approx(theirs.concordance_index_, abs=1e-4)


def test_whas_split(whas):
    # Katzman et al. (DeepSurv), BMC Med Res Methodol 2018; 18: 24, table 1: CPH on WHAS 0.816.
    train, test = whas["train"], whas["test"]
    mean, deviation = train["x"].mean(axis=0), train["x"].std(axis=0)
    fit = fit_cox((train["x"] - mean) / deviation, train["t"], train["e"] == 1)
    risk = (test["x"] - mean) / deviation @ fit.coefficients
    assert concordance_index(test["t"], test["e"], risk) == pytest.approx(0.8160, abs=1e-3)


def test_efron_likelihood_without_ties_is_breslows():
    generator = np.random.default_rng(0)
    risk, time = generator.normal(size=30), generator.permutation(30) + 1.0
    event = generator.random(30) < 0.5
    breslow = breslow_log_likelihood(risk[:, None], time, event)[0]
    assert efron_log_likelihood(risk, time, event) == pytest.approx(breslow, abs=1e-10)
