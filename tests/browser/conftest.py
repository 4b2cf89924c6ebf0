"""One browser, and one report of the synthetic study, for all tests of pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.report.job import ReportJob
from pipeline.report.report import build_report
from pipeline.tables.status import Status, write_status
from tests.browser.chromium import Chromium
from tests.report.synthetic_study import SHAPE, make_study

FIXED_GREY, MOVED_GREY = 40, 200


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    build_report(with_pictures(make_study(folder / "results")), folder / "report")
    return folder / "report"


def with_pictures(job: ReportJob) -> ReportJob:
    """The study with an overlay of patient A1's registration, in two greys, and with a saliency map of A1."""
    registration = job.results / "registration" / "A1"
    columns = [np.full((60, 40), grey, np.uint8) for grey in (FIXED_GREY, MOVED_GREY, 90, 120)]
    Image.fromarray(np.concatenate(columns, axis=1)).convert("RGB").save(registration / "quality.png")
    write_status(registration, Status("ok", "register"))
    explained = job.results / "explain" / "deepmts"
    explained.mkdir(parents=True)
    maps = np.zeros(SHAPE, np.float32)
    maps[1:5, 1:7, 1:7] = 1.0
    np.savez(explained / "A1.npz", integrated_gradients=maps)
    content = {"target": "risk", "sanity": {"integrated_gradients": "sensitive"}}
    (explained / "explain.json").write_text(json.dumps(content))
    (explained / "sanity.csv").write_text("order,step,map,rho_absolute\ncascade,1,integrated_gradients,0.1\n")
    for name in ("maps", "sanity"):
        Image.fromarray(columns[0]).save(explained / f"{name}.png")
    write_status(explained, Status("ok", "explain_model"))
    explain = job.settings.explain.model_copy(update={"models": ("deepmts",)})
    return replace(job, settings=job.settings.model_copy(update={"explain": explain}))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started
