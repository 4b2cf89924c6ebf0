"""A synthetic finished study: eight patients, known numbers, files as the stages write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.report.job import ReportJob
from pipeline.settings.root import load_settings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop, write_excluded
from pipeline.tables.parquet import write_table
from pipeline.tables.status import Status, write_status

HOSTILE = '<script>document.title="taken"</script> $\\frac{ & "quotes"'
DEVELOPMENT = ("A1", "A2", "A3", "A4", "A5", "A6")
EXTERNAL = ("E1", "E2")
SHAPE = (6, 8, 8)
CODE = "0123456789abcdef"
"""Digest of the code of all stages, which the rule hands over."""


def make_study(results: Path, *, full: bool = True, margin: int = 0) -> ReportJob:
    """Write a study: with everything, or the least that a study can have (slices, one model)."""
    external = EXTERNAL if full else ()
    settings = _settings(full)
    results.mkdir(parents=True)
    _cohort(results, external, full)
    _metrics(results / "metrics", full)
    _crops(results, (*DEVELOPMENT, *external), full, margin)
    for model in settings["models"]:
        _model(results, model, external, network=model == "deepmts")
    if full:
        _quality_control(results)
        _radiomics(results, (*DEVELOPMENT, *external))
    for folder in (results / "metrics", *results.glob("models/*/*"), *results.glob("[sr]*/A*")):
        write_status(folder, Status("ok", folder.name))
    radiomics = results / "radiomics"
    return ReportJob(
        results,
        load_settings(settings),
        CODE,
        (*DEVELOPMENT, *external, "X1", "X2", "X3"),
        radiomics / "features.parquet" if full else None,
        radiomics / "stability.csv" if full else None,
    )


def _settings(full: bool) -> dict[str, Any]:
    name = "synthetic" if full else "bare"
    settings: dict[str, Any] = {
        "study": {"name": name, "title": HOSTILE, "note": f"Synthetic. {HOSTILE}"},
        "cohort": {"table": "synthetic.csv"},
        "plan": {"folds": 2, "validation_fraction": 0.0 if full else 0.2},
        "report": {"examples": 3},
        "models": {"volume": {"kind": "feature"}},
        "training": {"checkpoint_selection": "last"},
    }
    if full:
        settings["models"] = {"deepmts": {"kind": "deepmts"}, **settings["models"]}
        settings["models"]["true_hazard"] = {"kind": "column", "column": "truth_log_hazard"}
        settings["ensembles"] = {"both": ["deepmts", "volume"]}
    else:
        settings["cohort"] |= {"source": "slices", "time_unit": "none"}
        settings["evaluation"] = {"horizons_days": [2.0]}
    return settings


def _cohort(results: Path, external: tuple[str, ...], full: bool) -> None:
    ids = [*DEVELOPMENT, *external]
    scale = 400.0 if full else 1.0
    frame = pd.DataFrame(
        {
            "patient_id": ids,
            "set": ["development"] * 6 + ["external"] * len(external),
            "centre": ["north", "south"] * (len(ids) // 2),
            "time_days": scale * np.arange(1.0, len(ids) + 1),
            "event": [1, 0] * (len(ids) // 2),
        }
    ).set_index("patient_id")
    if full:
        frame["clinical_age"] = [50.0, 51, 52, 53, 54, np.nan, 56, 57]
        frame["clinical_sex"] = ["F", "M", None, "F", "F", "M", "M", "F"]
    frame.to_parquet(results / "cohort.parquet")
    folds = [
        {"train": ["A4"], "validation": ["A5", "A6"], "test": ["A1", "A2", "A3"]},
        {"train": ["A1"], "validation": ["A2", "A3"], "test": ["A4", "A5", "A6"]},
    ]
    (results / "splits.json").write_text(
        json.dumps({"folds": folds, "external": list(external), "seed": 1, "subsets": {}})
    )
    caveats = ["no validation: the epoch was chosen on test patients"] if full else []
    (results / "plan.json").write_text(json.dumps({"caveats": caveats}))
    rows = ["patient_id,stage,state,problem,consequence"]
    if full:
        rows.append(f'X1,suv,excluded,"{HOSTILE.replace(chr(34), chr(34) * 2)}",excluded from the study')
        rows += ["X2,contours,excluded,none,out", "X3,suv,excluded,none,out", "X3,crop,excluded,none,out"]
        rows += ["A1,crop,warned,cut,used", "A1,suv,warned,late,used", "X1,index,warned,odd,used"]
    (results / "problems.csv").write_text("\n".join(rows) + "\n")


def _metrics(folder: Path, full: bool) -> None:
    folder.mkdir()
    models = ("deepmts", "volume", "true_hazard", "both") if full else ("volume",)
    sets = {"development": (6, 3), "external": (2, 1)} if full else {"development": (6, 3)}
    metrics = ["model,set,metric,value,ci_low,ci_high,patients,events,note"]
    km = ["model,set,group,time,survival,ci_low,ci_high,at_risk"]
    groups = ["patient_id,model,set,group,risk,time_days,event"]
    comparisons = [
        "model_a,model_b,family,set,metric,difference,ci_low,ci_high,p_value,p_holm,patients,events"
    ]
    calibration = ["model,set,horizon,bin,predicted,observed,ci_low,ci_high,patients"]
    curve = ["model,set,horizon,predicted,observed,ci_low,ci_high"]
    decisions = ["model,set,horizon,threshold,net_benefit,treat_all"]
    importance = [
        "model,column,drop,sd,permutations",
        *(["volume,pet_index_volume_ml,0.1,0.02,9"] if full else []),
    ]
    recalibrated = ["model,set,horizon,version,intercept,slope,observed_expected,ici,patients,events"]
    recalibrated += [
        f"both,external,365.25,{version},{a},{b},1.02,0.031,2,1"
        for version, a, b in (("as predicted", 0, 1), ("baseline", 0.4, 1), ("baseline and slope", 0.5, 0.8))
        if full
    ]
    roc = ["model,set,outcome,horizon,false_positive,true_positive,area,patients"]
    over_time = ["model,set,metric,time,value,ci_low,ci_high,patients"]
    scale = 400 if full else 1
    for name, (n, events) in sets.items():
        for i, model in enumerate(models):
            note = "marked: Z-scores from test patients" if model == "deepmts" else ""
            metrics += [
                f"{model},{name},c_index,{0.6 + 0.05 * i},0.41,0.87,{n},{events},pairs within folds; {note}",
                f"{model},{name},auc_365.25d,0.7,,,{n},{events},",
                f"{model},{name},brier_730.5d,,,,0,0,nobody followed",
                f"{model},{name},logrank_p,0.0004,,,{n},{events},",
            ]
            # Group 1: patients at 1, 3, 5 units (an event each); group 2: 2, 4, 6 (censored).
            for k, (time, left) in enumerate(((1, 3), (3, 2), (5, 1))):
                km.append(f"{model},{name},1,{time * scale},{1 - (k + 1) / 3:.4f},0.05,0.9,{left}")
                km.append(f"{model},{name},2,{(time + 1) * scale},1,1,1,{left}")
            km += [f"{model},{name},{g},0,1,1,1,3" for g in (1, 2)]
            groups += [
                f"A{k},{model},{name},{2 - k % 2},{k / 10},{k * scale},{k % 2}" for k in range(1, n + 1)
            ]
            calibration.append(f"{model},{name},365.25,1,0.6,0.5,0.2,0.8,3")
            curve += [f"{model},{name},365.25,{p},{p},{p / 2},{p + 0.2}" for p in (0.3, 0.5)]
            decisions += [f"{model},{name},365.25,{p},{0.3 - p / 2},{0.4 - p}" for p in (0.2, 0.4)]
            roc += [f"{model},{name},event,365.25,{p},{p**0.5},0.67,{n}" for p in (0, 0.25, 1)]
            over_time += [f"{model},{name},auc,{t * scale},0.7,0.5,0.8,{n}" for t in (1, 2, 3)]
            if model != "both" and full:
                comparisons.append(
                    f"{model},both,all against both,{name},c_index,-0.05,-0.2,0.1,0.25,0.5,{n},{events}"
                )
    for name, lines in {
        "metrics": metrics, "km": km, "risk_groups": groups, "comparisons": comparisons,
        "calibration": calibration, "calibration_curve": curve, "decision_curves": decisions,
        "time_curves": over_time, "importance": importance, "roc_curves": roc,
        "recalibrated": recalibrated,
    }.items():  # fmt: skip
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def _crops(results: Path, ids: tuple[str, ...], full: bool, margin: int) -> None:
    rng = np.random.default_rng(0)
    shape = tuple(n + 2 * margin for n in SHAPE) if full else (1, 8, 8)
    channels = ("pet", "ct") if full else ("image",)
    for patient_id in ids:
        image = rng.uniform(0, 8, (len(channels), *shape)).astype(np.float32)
        mask = np.zeros(shape, dtype=np.uint8)
        mask[..., margin + 2 : margin + 5, margin + 2 : margin + 5] = 1
        mask[0], mask[-1] = (0, 0) if full else (mask[0], mask[0])
        about = CropAttributes(patient_id, channels, ("",) * len(channels), (3.0, 2.0, 2.0), margin=margin)
        crop = Crop(image, mask, np.ones(shape, dtype=np.uint8), about)
        write_crop(results / "crops" / f"{patient_id}.zarr", crop)
    write_excluded(results / "crops" / "X1.zarr", Status("excluded", "suv", HOSTILE, "out"))


def _model(results: Path, model: str, external: tuple[str, ...], network: bool) -> None:
    import zarr

    for fold in (0, 1):
        folder = results / "models" / model / f"fold{fold}"
        folder.mkdir(parents=True)
        if not network:
            (folder / "model.json").write_text(json.dumps({"coefficients": {"volume_ml": 0.2 + 0.2 * fold}}))
            continue
        (folder / "history.csv").write_text(
            "iteration,set,loss,dice,c_index,learning_rate\n"
            "5,train,2.0,0.1,,0.1\n5,validation,2.1,0.2,0.5,0.1\n10,train,1.0,0.3,,0.1\n10,validation,1.5,0.4,,0.1\n"
        )
        timing = {"seconds": 60.0, "ms_per_step": 100.0 + fold, "name": "cpu", "precision": "bf16"}
        (folder / "timing.json").write_text(json.dumps(timing))
        group = zarr.open_group(folder / "masks.zarr", mode="w", zarr_format=3)
        # The mask's value tells the fold: fold 0 fills slice 1, fold 1 fills slice 2.
        for patient_id in (*DEVELOPMENT, *external):
            mask = np.zeros(SHAPE, dtype=np.uint8)
            mask[1 + fold, 2:5, 2:5] = 1
            group.create_array(patient_id, shape=SHAPE, chunks=SHAPE, dtype="uint8")[:] = mask
    ids = [*DEVELOPMENT, *external]
    table = pd.DataFrame(
        {"patient_id": ids, "set": ["development"] * 6 + ["external"] * len(external), "risk": 0.0}
    )
    table["dice"] = [0.5, 0.9, 0.1, np.nan, 0.7, 0.3, 0.6, 0.8][: len(ids)] if network else np.nan
    (results / "ensemble").mkdir(exist_ok=True)
    table.to_parquet(results / "ensemble" / f"{model}.parquet")
    (results / "ensemble" / f"{model}.json").write_text(
        json.dumps({"warnings": [f"model {model}: {HOSTILE}"]})
    )


def _quality_control(results: Path) -> None:
    for patient_id, flags in (("A1", []), ("A2", ["uptake 20 min"])):
        folder = results / "suv" / patient_id
        folder.mkdir(parents=True)
        path = [
            "units BQML: stored values are Bq/mL",
            "reference time 2019-01-11 09:20:37: (0008,0031) Series Time, not after any acquisition",
            "injection 2019-01-10 23:07:00: (0018,1078) Radiopharmaceutical Start DateTime",
            "decay correction START: dose decayed over 4417.0 s, half-life 6586.2 s",
        ]
        record = {"scanner": HOSTILE, "units": "BQML", "factor": 0.000537291763, "path": path, "flags": flags}
        (folder / "suv.json").write_text(json.dumps({**record, "assumptions": [], "suvmax": 16.8}))
    for patient_id, after in (("A1", 0.95), ("A2", 0.7), ("A3", None)):
        folder = results / "registration" / patient_id
        folder.mkdir(parents=True)
        quality: dict[str, Any] = {"method": "template", "note": "this patient is the template"}
        if after is not None:
            # Before alignment the order of the two is the other way round.
            quality = {
                "method": "template", "rotation_deg": 8.9, "translation_mm": [3.0, 4.0, 12.0],
                "overlap_before": 1 - after, "overlap_after": after, "similarity_before": 0.4,
                "similarity_after": 0.9, "starts_tried": 1,
                "limits": {"max_rotation_deg": 30.0, "max_translation_mm": 400.0, "min_overlap": 0.6},
            }  # fmt: skip
        (folder / "quality.json").write_text(json.dumps(quality))


def _radiomics(results: Path, ids: tuple[str, ...]) -> None:
    (results / "radiomics").mkdir()
    frame = pd.DataFrame({"patient_id": ids})
    for name in ("pet_original_glcm_Contrast", "pet_wavelet-LLH_glcm_Contrast", "pet_wavelet-HHH_glcm_Idm"):
        frame[name] = 1.0
    frame["pet_index_volume_ml"] = [np.nan, *[2.0] * (len(ids) - 1)]
    table = pa.Table.from_pandas(frame).replace_schema_metadata(
        {b"processing": json.dumps("Fixed bin size.")}
    )
    write_table(results / "radiomics" / "features.parquet", table)
    agreement = ["feature,icc,icc_low,icc_high,patients", "pet_original_glcm_Contrast,0.95,0.91,0.97,6"]
    agreement += ["pet_wavelet-LLH_glcm_Contrast,0.8,0.75,0.9,6", "pet_wavelet-HHH_glcm_Idm,0.2,-0.1,0.5,6"]
    agreement += ["pet_index_volume_ml,,,,1"]
    (results / "radiomics" / "stability.csv").write_text("\n".join(agreement) + "\n")
