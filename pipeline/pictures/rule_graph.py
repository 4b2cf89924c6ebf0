"""The rule graph of a DICOM study, from the table by which rules depend on one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pipeline.pictures.drawing import BoxShape, Drawing
from pipeline.workflow.dependencies import RULES

OTHER_SOURCES = frozenset({"phantom", "convert_nifti", "ingest", "disks", "chest_slices"})
"""Rules of studies whose images are no DICOM."""
ON_REQUEST = frozenset(
    {"radiomics_predicted", "stability_patient", "stability", "cross_splits", "explain_model", "bundle"}
)
"""Rules that run where a setting, a model or a command asks for them."""
PER_PATIENT = frozenset(
    {"index", "convert", "suv", "contours", "register", "crop", "radiomics_patient", "stability_patient"}
)
COLOURS = {
    "dicom": "#d9ecff",
    "registration": "#d9ecff",
    "crops": "#d9ecff",
    "radiomics": "#dcf5e3",
    "planning": "#fff1cc",
    "training": "#f6dcf2",
    "explain": "#f6dcf2",
    "survival": "#f6dcf2",
    "ensemble": "#f6dcf2",
    "metrics": "#ffe1d6",
    "report": "#ffe1d6",
    "deploy": "#ffe1d6",
}
"""Room of a rule's code → fill."""
WIDE, TALL, APART, BETWEEN, MARGIN = 170, 38, 26, 44, 44
LANE = 9
"""Pixels between lines that run beside the boxes of the rows that they pass."""


def graph_of_rules() -> dict[str, frozenset[str]]:
    """Rule → the rules directly before it, of a DICOM study.

    What follows from other edges is left out, but not where these lead over rules that run on request only.
    """
    drawn = {
        name: set(rule.after) - OTHER_SOURCES for name, rule in RULES.items() if name not in OTHER_SOURCES
    }
    before = {name: _always_before(name, drawn) for name in drawn}
    return {
        name: frozenset(
            one for one in after if not any(one in before[other] for other in after - {one} - ON_REQUEST)
        )
        for name, after in drawn.items()
    }


def _always_before(name: str, after: Mapping[str, set[str]]) -> set[str]:
    """Every rule that runs before one in any study."""
    found: set[str] = set()
    todo = list(after[name])
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += after[one] if one not in ON_REQUEST else ()
    return found


def rows(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Rules by row: each below all before it; within a row near the rules that it follows."""
    depth: dict[str, int] = {}
    while len(depth) < len(graph):
        for name, after in graph.items():
            if name not in depth and all(one in depth for one in after):
                depth[name] = 1 + max((depth[one] for one in after), default=-1)
    found: list[list[str]] = [[] for _ in range(1 + max(depth.values()))]
    place: dict[str, float] = {}
    for number, row in enumerate(found):
        names = [name for name in graph if depth[name] == number]
        means = {
            name: sum(place[one] for one in graph[name]) / len(graph[name]) if graph[name] else 0.0
            for name in names
        }
        row += sorted(names, key=lambda name: (name in ON_REQUEST, means[name]))
        place |= {name: index - (len(row) - 1) / 2 for index, name in enumerate(row)}
    return found


def draw_rule_graph() -> str:
    """The picture as SVG, from the scanner's files at the top to the report at the bottom."""
    graph = graph_of_rules()
    found = rows(graph)
    widest = max(map(len, found))
    wide = widest * (WIDE + BETWEEN) - BETWEEN + 2 * MARGIN
    tall = len(found) * (TALL + APART) + MARGIN + 36
    drawing = Drawing(wide, tall, "Rules of a DICOM study and which follows which")
    shapes: dict[str, BoxShape] = {}
    for number, row in enumerate(found):
        left = MARGIN + (widest - len(row)) * (WIDE + BETWEEN) / 2
        for index, name in enumerate(row):
            shapes[name] = BoxShape(left + index * (WIDE + BETWEEN), 12 + number * (TALL + APART), WIDE, TALL)
    row_of = {name: number for number, row in enumerate(found) for name in row}
    lanes: Counter[str] = Counter()
    for name, after in graph.items():
        for one in sorted(after):
            dashed = bool({one, name} & ON_REQUEST)
            if row_of[name] - row_of[one] == 1:
                drawing.arrow(shapes[one].bottom, shapes[name].top, down=True, dashed=dashed)
                continue
            passed = [shapes[rule] for rule in graph if row_of[one] <= row_of[rule] <= row_of[name]]
            side = "left" if shapes[one].bottom[0] <= wide / 2 else "right"
            lanes[side] += 1
            away = LANE * lanes[side]
            if side == "left":
                lane = min(shape.x for shape in passed) - away
                drawing.detour(shapes[one].left, shapes[name].left, lane, dashed=dashed)
            else:
                lane = max(shape.x + WIDE for shape in passed) + away
                drawing.detour(shapes[one].right, shapes[name].right, lane, dashed=dashed)
    for name, shape in shapes.items():
        drawing.box(shape, COLOURS[RULES[name].module.split(".")[1]], dashed=name in ON_REQUEST)
        middle, jobs = shape.x + WIDE / 2, "a job per patient" if name in PER_PATIENT else _jobs(name)
        drawing.text(middle, shape.y + 16, name, 13, bold=True, anchor="middle")
        drawing.text(middle, shape.y + 31, jobs, 11, anchor="middle")
    legend = (
        "Blue: images. Green: features. Yellow: who is in which fold. Violet: models. Orange: what is read.",
        "Dashed: only where a setting, a model or a command asks for it.",
    )
    drawing.lines(MARGIN, tall - 34, legend)
    return drawing.svg()


def _jobs(name: str) -> str:
    """Number of jobs of a rule that does not run by patient."""
    if name == "train_fold":
        return "a job per network and fold"
    return {
        "networks": "a job per network",
        "classical": "a job per model",
        "explained": "a job per network",
    }.get(RULES[name].models, "one job" if name != "ensemble" else "a job per model")
