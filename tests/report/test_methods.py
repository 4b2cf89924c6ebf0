"""The methods section says what was run."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.report.methods import CLASSICAL, _classical, methods
from pipeline.settings.classical import LassoCox
from pipeline.settings.kinds import KINDS
from tests.report.synthetic_study import make_study


def test_methods_name_every_kind_of_classical_model() -> None:
    """A new kind without a sentence of its own would be an error in the report."""
    classical = {str(kind.model_fields["kind"].default): kind for kind in KINDS if not kind.is_network}
    assert set(classical) == set(CLASSICAL)
    for name, model in classical.items():
        values = {"column": "c"} if name == "column" else {}
        assert "{" not in _classical(model(**values))


def test_methods_say_whose_z_scores_they_are(tmp_path: Path) -> None:
    job = make_study(tmp_path / "results")
    folder = job.results / "ensemble"
    folder.mkdir(exist_ok=True)
    instead = "its test patients were used instead"
    for warning, expected in (("", False), ("model m, fold 0: Z-scores from test patients, since", True)):
        name = next(iter(job.settings.models))
        (folder / f"{name}.json").write_text(json.dumps({"warnings": [warning] if warning else []}))
        assert (instead in dict(methods(job))["Ensembles"]) == expected


def test_methods_say_whose_contour_and_what_was_left_out() -> None:
    plain = _classical(LassoCox(spearman=1.0))
    predicted = LassoCox(contour="predicted", contour_network="deepmts", min_icc=0.75, spearman=1.0)
    assert _classical(predicted).startswith(plain + " Features are of contours drawn by deepmts")
    assert "the fold that held them out" in _classical(predicted) and "reached 0.75" in _classical(predicted)
    assert "shell" in _classical(LassoCox(contour="peritumoral"))
    filtered = _classical(LassoCox(spearman=0.8, deep="net", harmonise="combat"))
    assert "above 0.8" in filtered and "deep features of net" in filtered and "ComBat" in filtered
