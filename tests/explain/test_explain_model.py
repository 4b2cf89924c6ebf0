"""The job: chosen patients explained by the fold that held them out, files and verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.explain.explain_model import ExplainJob, choose_patients, explain_model
from pipeline.explain.saliency import choose_target, grad_cam, to_image_size, used_slices
from pipeline.nets.registry import build
from pipeline.settings.explain import ExplainSettings
from pipeline.settings.network import Network
from pipeline.settings.networks.chest_ct import ChestCt
from pipeline.settings.networks.deepmts import CnnSurvival, DeepMts, SegBackbone
from pipeline.settings.networks.disks import RNet, SrNet
from pipeline.settings.networks.hecktor import Hecktor
from pipeline.settings.networks.pet_multiscale import ResNet50, VNet
from pipeline.tables.splits import read_splits
from pipeline.training.batches import Batch
from pipeline.training.context import FoldJob
from pipeline.training.pretrained import load_trained_network
from pipeline.training.train_fold import train_fold

CUBE, SLICE = (16, 16, 16), (1, 32, 32)
NETWORKS = [
    (DeepMts(width=0.25), (32, 32, 32), 16),
    (SegBackbone(width=0.25), CUBE, 8),
    (Hecktor(filters=2), CUBE, 8),
    (ResNet50(width=0.0625, outcome="label", losses={"labels": ("label_a",)}), (32, 32, 32), 4),
    (VNet(width=0.25), CUBE, 8),
    (CnnSurvival(width=0.5), CUBE, 2),
    (RNet(width=0.5), SLICE, 4),
    (SrNet(width=0.125), SLICE, 8),
    (ChestCt(width=0.0625), SLICE, 4),
]


@pytest.mark.parametrize(("settings", "shape", "levels"), NETWORKS, ids=[n[0].kind for n in NETWORKS])
def test_every_encoder_and_decoder_level_has_a_map(
    settings: Network, shape: tuple[int, int, int], levels: int
) -> None:
    """`levels`: sizes of at least 8 voxels that a forward pass goes through, from the papers' drawings."""
    torch.manual_seed(0)
    net = build(settings, 2, 0).eval()
    masks = torch.zeros(1, *shape)
    masks[:, 0, 2:6, 2:6] = 1
    image = torch.randn(1, 2, *shape)
    batch = Batch(("a",), torch.arange(1), image, None, {"mask": masks})
    target = choose_target("auto", set(net(image, None, masks)), settings.losses)
    scales = grad_cam(net, batch, target)
    assert len(scales) >= levels and any(scale.reached for scale in scales)
    assert len({scale.name for scale in scales}) == len(scales)
    seen = used_slices(net, batch, target)
    for scale in scales:
        assert torch.isfinite(scale.map).all()
        assert to_image_size(scale.map, shape, seen).shape == (1, *shape)


@pytest.fixture(scope="module")
def trained(request: pytest.FixtureRequest, study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of a tiny network, and the risks of their test patients."""
    from pipeline.settings.networks.deepmts import MtHs
    from pipeline.settings.training import TrainingSettings
    from pipeline.tables.predictions import read_predictions

    root = tmp_path_factory.mktemp("trained")
    rows = []
    for fold in range(2):
        job = FoldJob(
            "net", MtHs(width=0.25, clinical=("clinical_age",)),
            TrainingSettings(iterations=1, batch=4, device="cpu", checkpoint_selection="last"),
            study / "crops", study / "cohort.parquet", study / "splits.json", fold, (365.25,), 1, 1,
            root / "work",
        )  # fmt: skip
        train_fold(job, root / f"fold{fold}")
        table = read_predictions(root / f"fold{fold}" / "predictions.parquet")
        rows.append(table[table["set"] == "test"].assign(set="development", fold=fold))
    pd.concat(rows).to_parquet(root / "risks.parquet")
    return root


def test_files_of_the_job(trained: Path, study: Path, tmp_path: Path) -> None:
    settings = ExplainSettings(
        models=("net",), patients=1, sanity_steps=2, occlusion_voxels=8, occlusion_stride_voxels=8
    )
    folds = tuple(trained / f"fold{k}" for k in range(2))
    job = ExplainJob(
        "net", folds, trained / "risks.parquet", study / "crops", study / "cohort.parquet", settings, 3
    )
    explain_model(job, tmp_path / "out")
    about = json.loads((tmp_path / "out" / "explain.json").read_text())
    risks = pd.read_parquet(trained / "risks.parquet").set_index("patient_id")["risk"]
    assert [p["patient_id"] for p in about["patients"]] == [risks.idxmax(), risks.idxmin()]
    splits = read_splits(study / "splits.json")
    for patient in about["patients"]:
        assert patient["patient_id"] in splits.sets(patient["fold"])["test"]
        with np.load(tmp_path / "out" / f"{patient['patient_id']}.npz", allow_pickle=False) as maps:
            assert {"encoder.levels.0", "encoder.levels.2", "occlusion"} <= set(maps.files)
            for name in maps.files:
                assert maps[name].shape == (16, 16, 16) and maps[name].dtype == np.float32
                assert name == "occlusion" or maps[name].min() >= 0
    assert about["target"] == "risk" and "decoder.levels.3" in about["not_reached"]
    assert set(about["sanity"].values()) <= {"sensitive", "insensitive", "undetermined"}
    assert "occlusion" in about["sanity"] and "encoder.levels.1" in about["sanity"]
    table = pd.read_csv(tmp_path / "out" / "sanity.csv")
    assert (
        set(table["order"]) == {"cascade", "independent"}
        and table["rho_absolute"].dropna().between(0, 1).all()
    )
    for name in ("maps.png", "sanity.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_restored_network_predicts_what_the_fold_wrote(trained: Path, study: Path) -> None:
    from pipeline.tables.outcomes import read_outcomes
    from pipeline.tables.predictions import read_predictions
    from pipeline.training.dataset import CohortSource, load_cohort
    from pipeline.training.device import choose_device
    from pipeline.training.outputs import predict_patients
    from pipeline.training.predict import Predictor

    network = load_trained_network(trained / "fold0")
    device_config = choose_device(network.training)
    table = read_predictions(trained / "fold0" / "predictions.parquet")
    rows = read_outcomes(study / "cohort.parquet").loc[table["patient_id"]]
    source = CohortSource(study / "crops", "zscore")
    cohort = load_cohort(source, rows, network.encoder.transform(rows), device_config)
    predictor = Predictor(
        device_config.to_device(network.net).eval(), device_config, network.network.losses, 4
    )
    risks = predict_patients(predictor, cohort, range(len(rows)), masks_of=set(), features=False).risk
    assert risks == pytest.approx(table["risk"].tolist(), abs=1e-6)


def test_choice_of_patients() -> None:
    risks = pd.DataFrame(
        {
            "patient_id": ["a", "b", "c", "d", "e"],
            "set": ["development"] * 4 + ["external"],
            "fold": [0, 1, 0, 1, -1],
            "risk": [0.5, 2.0, -1.0, 0.5, 9.0],
        }
    )

    def chosen_ids(count: int) -> list[str]:
        return [patient.patient_id for patient in choose_patients(risks, count)]

    assert chosen_ids(1) == ["b", "c"]
    assert chosen_ids(2) == chosen_ids(9) == ["b", "a", "d", "c"]
    with pytest.raises(TrainingError, match="too few test patients"):
        choose_patients(risks[:1], 1)


def test_one_fold_is_explained_by_the_external_patients() -> None:
    """A locked test set, as the PET multi-scale paper has: nobody is a test patient of a fold."""
    risks = pd.DataFrame(
        {
            "patient_id": ["a", "b", "c"],
            "set": ["external"] * 3,
            "fold": [-1] * 3,
            "risk": [0.5, 2.0, -1.0],
        }
    )
    chosen = [(patient.patient_id, patient.end, patient.fold) for patient in choose_patients(risks, 1)]
    assert chosen == [("b", "highest", 0), ("c", "lowest", 0)]


def test_without_risk_patients_are_chosen_by_label_or_dice() -> None:
    table = pd.DataFrame(
        {
            "patient_id": ["a", "b", "c", "d", "e"],
            "set": ["development"] * 4 + ["external"],
            "fold": [0, 1, 0, 1, -1],
            "label_x_0": [0.1, 0.2, 0.9, 0.3, 1.0],
            "dice": [0.5, 0.1, np.nan, 0.7, 0.9],
        }
    )
    chosen = [
        (patient.patient_id, patient.end, patient.by, patient.value) for patient in choose_patients(table, 1)
    ]
    assert chosen == [("c", "highest", "label_x_0", 0.9), ("a", "lowest", "label_x_0", 0.1)]
    chosen = [
        (patient.patient_id, patient.by) for patient in choose_patients(table.drop(columns="label_x_0"), 9)
    ]
    assert chosen == [("d", "dice"), ("b", "dice")]  # three have a mask: one from each end
    risks = table.assign(risk=[1.0, 2.0, 3.0, 4.0, 5.0])
    assert {patient.by for patient in choose_patients(risks, 1)} == {"risk"}
    named = [(patient.patient_id, patient.by) for patient in choose_patients(risks, 1, "label_x_0")]
    assert named == [("c", "label_x_0"), ("a", "label_x_0")]
    boxes = table.drop(columns="label_x_0").assign(dice=np.nan)
    with pytest.raises(TrainingError, match="too few test patients to explain by dice"):
        choose_patients(boxes, 1)
