"""Z-scores with frozen means and SDs, averaged over models and folds."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.ensemble.ensemble import ensemble, fit_scale
from pipeline.errors import ModelError, TableError
from pipeline.tables.predictions import write_predictions
from pipeline.tables.status import Status, write_status

DEVELOPMENT = [f"D{i}" for i in range(12)]
EXTERNAL = ["E0", "E1"]


def write_model(folder, seed, validation=True, folds=3, change=None):
    """Predictions of a model in three folds; returns its fold folders and frames."""
    generator = np.random.default_rng(seed)
    paths, frames = [], []
    for k in range(folds):
        held = DEVELOPMENT[k::folds]
        rest = [p for p in DEVELOPMENT if p not in held]
        number = 4 if validation else 0
        sets = ["validation"] * number + ["train"] * (len(rest) - number) + ["test"] * len(held)
        frame = pd.DataFrame(
            {"patient_id": [*rest, *held, *EXTERNAL], "set": [*sets, "external", "external"]}
        )
        frame["risk"] = generator.normal(5.0 * seed, 1.0 + seed, len(frame))
        frame["survival_365d"] = generator.random(len(frame))
        if change:
            frame = change(frame, k)
        paths.append(folder / f"fold{k}")
        write_predictions(paths[-1] / "predictions.parquet", frame)
        frames.append(frame.set_index("patient_id"))
    return paths, frames


def run(folder, members, **options):
    out, info = folder / "e.parquet", folder / "e.json"
    for path in {path for paths in members.values() for path in paths}:
        write_status(path, Status("ok", "train_fold"))
    ensemble(members, out, info, **options)
    return pd.read_parquet(out).set_index("patient_id"), json.loads(info.read_text())


def z(frame, *sources):
    values = frame.loc[frame["set"].isin(sources or ("train", "validation")), "risk"]
    return (frame["risk"] - values.mean()) / values.std()


def test_one_model_by_hand(tmp_path):
    paths, frames = write_model(tmp_path / "m", 1)
    table, info = run(tmp_path, {"m": paths})
    for k in range(3):
        for patient in DEVELOPMENT[k::3]:
            assert table.loc[patient, "risk"] == pytest.approx(z(frames[k])[patient], abs=1e-12)
            assert table.loc[patient, "fold"] == k
            assert table.loc[patient, "survival_365d"] == frames[k].loc[patient, "survival_365d"]
    parts = np.array([[z(f)[p] for p in EXTERNAL] for f in frames])
    assert table.loc[EXTERNAL, "risk"].to_numpy() == pytest.approx(parts.mean(axis=0))
    assert table.loc[EXTERNAL, "spread"].to_numpy() == pytest.approx(parts.std(axis=0, ddof=1))
    assert (table.loc[EXTERNAL, "fold"] == -1).all() and table.loc[DEVELOPMENT, "spread"].isna().all()
    member = info["members"]["m"][0]
    own = frames[0].loc[frames[0]["set"].isin(["train", "validation"]), "risk"]
    train = frames[0]["set"] == "train"
    assert (member["from"], member["patients"]) == ("training", 8)
    assert (member["mean"], member["sd"]) == pytest.approx((own.mean(), own.std()))
    assert info["folds"][0]["train_cut"] == pytest.approx(z(frames[0])[train].median())
    assert info["folds"][0]["train_quantiles"]["0.5"] == info["folds"][0]["train_cut"]


def test_models_of_other_scales_have_equal_say(tmp_path):
    one, first = write_model(tmp_path / "a", 1)
    two, second = write_model(tmp_path / "b", 1000)
    table, _ = run(tmp_path, {"a": one, "b": two})
    patient = DEVELOPMENT[4]
    expected = (z(first[1])[patient] + z(second[1])[patient]) / 2
    assert table.loc[patient, "risk"] == pytest.approx(expected, abs=1e-12)


def test_test_patients_do_not_change_one_another(tmp_path):
    # Frozen: what a patient gets depends on training and validation patients, not on who else is scored.
    def far(frame, k):
        frame.loc[frame["patient_id"] == "D0", "risk"] += 1e6 * (k == 0)
        return frame

    before, _ = run(tmp_path, {"m": write_model(tmp_path / "m", 1)[0]})
    after, _ = run(tmp_path, {"m": write_model(tmp_path / "n", 1, change=far)[0]})
    others = [p for p in DEVELOPMENT[0::3] if p != "D0"]
    assert (before.loc[others, "risk"] == after.loc[others, "risk"]).all()


def test_cross_fitted_risks_give_the_scale_where_there_are_any(tmp_path):
    """In-sample risks of training patients are spread too wide: here ten times."""

    def in_sample(frame, k):
        train = frame["set"] == "train"
        return frame.assign(
            risk_out_of_sample=frame["risk"], risk=frame["risk"].where(~train, 10 * frame["risk"])
        )

    paths, frames = write_model(tmp_path / "m", 1, change=in_sample)
    table, info = run(tmp_path, {"m": paths})
    own = frames[0].loc[frames[0]["set"].isin(["train", "validation"]), "risk_out_of_sample"]
    assert info["members"]["m"][0]["sd"] == pytest.approx(own.std())
    assert table.loc["D0", "risk"] == pytest.approx((frames[0].loc["D0", "risk"] - own.mean()) / own.std())


def test_on_request_test_patients_give_the_scale_with_a_warning(tmp_path):
    paths, frames = write_model(tmp_path / "m", 1)
    table, info = run(tmp_path, {"m": paths}, z_scores="test")
    assert table.loc["D0", "risk"] == pytest.approx(z(frames[0], "test")["D0"])
    assert info["members"]["m"][0]["from"] == "test"
    assert any("test patients" in line for line in info["warnings"])


def test_a_constant_risk_is_zero_with_a_warning(tmp_path):
    def flat(frame, k):
        return frame.assign(risk=0.1 + 0.2 if k == 1 else frame["risk"])

    table, info = run(tmp_path, {"m": write_model(tmp_path / "m", 1, change=flat)[0]})
    assert (table.loc[DEVELOPMENT[1::3], "risk"] == 0).all()
    assert info["members"]["m"][1]["sd"] == 0
    assert any("fold 1" in line and "same for all" in line for line in info["warnings"])


def test_dice_comes_from_those_who_have_it_and_probabilities_need_all(tmp_path):
    def with_dice(frame, k):
        return frame.assign(dice=0.5 + 0.1 * k)

    def without_survival(frame, k):
        return frame.drop(columns="survival_365d")

    net, _ = write_model(tmp_path / "a", 1, change=with_dice)
    cox, _ = write_model(tmp_path / "b", 2, change=without_survival)
    table, _ = run(tmp_path, {"net": net, "cox": cox})
    assert table.loc["D1", "dice"] == 0.6 and table.loc["E0", "dice"] == pytest.approx(0.6)
    assert table["survival_365d"].isna().all()


def test_a_probability_that_one_fold_cannot_give_is_missing(tmp_path):
    def short(frame, k):
        return frame.assign(survival_365d=np.nan) if k == 2 else frame

    table, _ = run(tmp_path, {"m": write_model(tmp_path / "m", 1, change=short)[0]})
    assert table.loc[EXTERNAL, "survival_365d"].isna().all()
    assert table.loc["D0", "survival_365d"] >= 0 and np.isnan(table.loc["D2", "survival_365d"])


def test_marks_of_members_are_gathered(tmp_path):
    paths, _ = write_model(tmp_path / "m", 1)
    for path, caveats in zip(paths, (["marked: a"], [], ["marked: a", "marked: b"]), strict=True):
        (path / "model.json").write_text(json.dumps({"caveats": caveats}))
    assert run(tmp_path, {"m": paths})[1]["caveats"] == ["marked: a", "marked: b"]


def test_no_external_patients(tmp_path):
    def inside(frame, k):
        return frame[frame["set"] != "external"]

    table, _ = run(tmp_path, {"m": write_model(tmp_path / "m", 1, change=inside)[0]})
    assert set(table["set"]) == {"development"} and len(table) == 12


def test_no_test_patients(tmp_path):
    def outside(frame, k):
        return frame[frame["set"] != "test"]

    table, info = run(tmp_path, {"m": write_model(tmp_path / "m", 1, change=outside)[0]})
    assert list(table.index) == EXTERNAL and set(table["fold"]) == {-1}
    assert table["spread"].notna().all() and info["members"]["m"][0]["from"] == "training"


def test_members_must_agree(tmp_path):
    one, _ = write_model(tmp_path / "a", 1)
    two, _ = write_model(tmp_path / "b", 2, change=lambda f, k: f[f["patient_id"] != "E1"])
    with pytest.raises(ModelError, match="different patients"):
        run(tmp_path, {"a": one, "b": two})
    with pytest.raises(ModelError, match="numbers of folds"):
        run(tmp_path, {"a": one, "b": one[:2]})
    with pytest.raises(ModelError, match="at least one model"):
        run(tmp_path, {})


def test_too_few_patients_for_a_scale():
    with pytest.raises(ModelError, match="too few patients"):
        fit_scale(pd.DataFrame({"set": ["train", "validation", "test"], "risk": [0.0, 1, 2]}), "training")


def segments(frame, k):
    """Predictions of a network that only segments."""
    return frame.drop(columns=["risk", "survival_365d"]).assign(dice=0.5 + 0.1 * k)


def test_a_member_without_risk_has_no_part_in_it(tmp_path):
    """The ensemble's risk and survival are the other member's; its masks are this one's."""
    masks, _ = write_model(tmp_path / "s", 2, change=segments)
    paths, _ = write_model(tmp_path / "m", 1)
    alone, _ = run(tmp_path, {"m": paths})
    for members in ({"s": masks, "m": paths}, {"m": paths, "s": masks}):
        table, info = run(tmp_path, members)
        columns = ["set", "fold", "risk", "spread", "survival_365d"]
        pd.testing.assert_frame_equal(table[columns], alone[columns])
        assert info["members"]["s"] == [] and len(info["members"]["m"]) == 3
    table, _ = run(tmp_path, {"s": masks, "m": paths})
    assert table.loc["D1", "dice"] == 0.6 and table.loc["E0", "dice"] == pytest.approx(0.6)


def test_masks_alone_give_no_risk(tmp_path):
    masks, _ = write_model(tmp_path / "s", 2, validation=False, change=segments)
    table, info = run(tmp_path, {"s": masks})
    assert list(table.columns) == ["set", "fold", "dice"]
    assert info["folds"] == [] and info["warnings"] == []


def test_survival_without_risk_is_no_prediction(tmp_path):
    with pytest.raises(
        TableError, match="predictions have survival probabilities and no risk.*survival_365d"
    ):
        write_model(tmp_path / "s", 2, change=lambda frame, k: frame.drop(columns="risk"))
