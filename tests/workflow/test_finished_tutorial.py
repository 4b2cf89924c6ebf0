"""The tutorial: its commands are taken from the page and run, and what they print is compared with the page.

Reads `results/sts` of this checkout, which CI makes by the command of the page's fifth step.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
MADE = ("mistake.yaml", "changed.yaml")
"""Studies that the page's commands write into config/studies."""
NETWORKS = ("deepmts", "ensemble")
finished = [
    pytest.mark.finished,
    # One after the other: the page's commands write studies, which another worker would take for yours.
    pytest.mark.xdist_group("tutorial"),
    pytest.mark.skipif(
        not (ROOT / "results" / "sts" / "report" / "index.html").exists(), reason="no finished sarcoma study"
    ),
]


@dataclass(frozen=True)
class Step:
    """Commands of the page, and the output that it shows of them; empty: none."""

    commands: tuple[str, ...]
    output: str

    @property
    def last(self) -> str:
        """The command whose output is shown."""
        return self.commands[-1]


def steps() -> list[Step]:
    """The page's commands in order."""
    blocks = re.findall(
        r"^```(bash|text)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    found: list[Step] = []
    for kind, text in blocks:
        if kind == "bash":
            found.append(Step(tuple(text.splitlines()), ""))
        else:
            found[-1] = Step(found[-1].commands, text)
    return found


def printed(step: Step) -> str:
    """What the commands of a step print, both streams in the order in which a terminal shows them."""
    done = subprocess.run(
        ["bash", "-c", "\n".join(step.commands)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500, check=False,
    )  # fmt: skip
    return done.stdout


def test_the_pages_commands_are_those_that_ci_runs() -> None:
    """What takes minutes is run by CI itself; the rest is run below."""
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    long = [step.last for step in steps() if not step.output]
    assert len(long) == 2 and len(steps()) == 8
    assert long[0] == "make setup" and "make setup" in ci
    assert sorted(long[1].split()) in [sorted(line.split()) for line in ci.splitlines()]
    assert PAGE.read_text(encoding="utf-8").count("```") == 2 * (len(steps()) * 2 - len(long))


def by_rule(text: str) -> dict[str, int]:
    """Rule → jobs of a dry run."""
    return {rule: int(jobs) for rule, jobs in re.findall(r"^  (\w+) +(\d+)  ", text, re.MULTILINE)}


class TestOutputs:
    """Each output of the page is that of its command."""

    pytestmark = finished

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self):  # type: ignore[no-untyped-def]
        made = [ROOT / "config" / "studies" / name for name in MADE]
        assert not any(path.exists() for path in made), "the page's commands would overwrite a study of yours"
        yield
        for path in made:
            path.unlink(missing_ok=True)

    def test_the_check_finds_what_the_page_says(self) -> None:
        checks = [step for step in steps() if "suvival check" in step.last]
        assert len(checks) == 2
        for step in checks:
            # The two streams of a pipe come in another order than on a terminal.
            assert sorted(printed(step).splitlines()) == sorted(step.output.splitlines())

    def test_a_first_run_has_the_pages_jobs(self) -> None:
        """All jobs again are those of a first run; only the reason is another one."""
        step = next(step for step in steps() if "snakemake -n" in step.last)
        forced = Step((f"{step.last} --forceall",), "")
        assert by_rule(step.output) and by_rule(printed(forced)) == by_rule(step.output)

    def test_dry_runs_of_the_finished_study_are_the_pages(self) -> None:
        dry = [step for step in steps() if "snakemake -n" in step.last][1:]
        assert len(dry) == 2
        for step in dry:
            assert printed(step) == step.output

    def test_the_models_do_what_the_page_says(self) -> None:
        """The page's values; a network's within what another processor's rounding makes of 30 patients."""
        step = next(step for step in steps() if step.last.startswith("grep"))
        shown, made = (
            {line.split(",")[0]: list(map(float, line.split(",")[1:])) for line in text.splitlines()}
            for text in (step.output, printed(step))
        )
        assert list(shown) == list(made) and len(shown) == 7
        for model, values in shown.items():
            assert made[model] == pytest.approx(values, abs=0.1 if model in NETWORKS else 0.02), model
