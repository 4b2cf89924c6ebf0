"""The columns split, group and subsets of the cohort table: taken as they are, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import TableError
from pipeline.metrics.bootstrap import resample_counts
from pipeline.settings.cohort import CohortSettings
from pipeline.tables.cohort import read_cohort

HEADER = "patient_id,set,image_path,split,group,subsets"


def read(tmp_path: Path, *rows: str, policy: str = "stop"):  # type: ignore[no-untyped-def]
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return read_cohort(CohortSettings(table=str(path), source="slices"), policy)  # type: ignore[arg-type]


def test_columns_are_read(tmp_path: Path) -> None:
    cohort = read(
        tmp_path, "a,development,a,train,v1,cr sr", "b,development,b,validation,,", "c,external,c,test,v2,sr"
    )
    a, b, c = cohort.patients
    assert (a.split, a.group, a.subsets) == ("train", "v1", ("cr", "sr"))
    assert (b.split, b.group, b.subsets) == ("validation", "", ())
    assert (c.split, c.group, c.subsets) == ("test", "v2", ("sr",))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("a,development,a,train,,", "b,development,b,,,"), "split.*line 3.*got: ''"),
        (("a,development,a,test,,",), "split.*development.*rows that are only tested have set external"),
        (("a,development,a,,,", "b,external,b,train,,"), "split.*external.*expected: test, or nothing"),
        (("a,development,a,0,,",), "got: '0'"),
        (("a,development,a,,v,", "b,external,b,,v,"), "group 'v' is on both sides.*lines 2 and 3"),
        (("a,development,a,1,v,", "b,development,b,2,v,"), "group 'v' is on both sides.*'1' and '2'"),
        (("a,development,a,,,CR",), "subsets.*'CR'"),
    ],
)
def test_what_leaves_a_set_open_or_cuts_a_group_is_refused(
    tmp_path: Path, rows: tuple[str, ...], message: str
) -> None:
    with pytest.raises(TableError, match=message):
        read(tmp_path, *rows)


def test_a_group_on_both_sides_stops_whatever_the_policy(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="both sides"):
        read(tmp_path, "a,development,a,,v,", "b,external,b,,v,", policy="exclude")


def test_bootstraps_draw_whole_groups() -> None:
    group = ["v1"] * 30 + ["v2"] * 30 + [f"s{i}" for i in range(5)]
    counts = resample_counts(65, 400, 0, None, group)
    assert (counts[:, :30] == counts[:, :1]).all() and (counts[:, 30:60] == counts[:, 30:31]).all()
    assert (counts[:, [0, 30, *range(60, 65)]].sum(axis=1) == 7).all(), "seven groups are drawn each time"
    # Of rows that are all alike within a group the mean varies as that of so many groups.
    values = np.repeat([0.0, 1.0], 30)
    of_groups = resample_counts(60, 2000, 0, None, group[:60]) @ values / 60
    of_rows = resample_counts(60, 2000, 0) @ values / 60
    assert of_groups.std() == pytest.approx(np.sqrt(0.5 * 0.5 / 2), rel=0.1)
    assert of_rows.std() == pytest.approx(np.sqrt(0.5 * 0.5 / 60), rel=0.1)


def test_without_groups_the_resamples_are_those_of_single_patients() -> None:
    fold = np.arange(20) % 2.0
    alone = [f"p{i:02d}" for i in range(20)]
    assert (resample_counts(20, 50, 3, fold) == resample_counts(20, 50, 3, fold, alone)).all()
