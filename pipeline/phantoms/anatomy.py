"""A head and neck shared by all patients, as attenuation and uptake, with the patient's tumour.

Template space is LPS in mm (x to the left, y to the back, z up); its origin lies between the
skull base and the palate. Patients differ in tumour, nodes, uptake of the brain, rotation and
shift. The couch belongs to the scanner and does not rotate with the patient.
"""

from __future__ import annotations

import numpy as np

from pipeline.phantoms.canvas import Column, Ellipsoid, VoxelCanvas, share_inside
from pipeline.phantoms.patient import PhantomPatient
from pipeline.phantoms.tumour import RIM_MM, FloatArray, TumourField
from pipeline.volumes.volume import Grid

HEAD = Ellipsoid((0, -5, 28), (74, 88, 60))
JAW = Ellipsoid((0, -35, -25), (52, 52, 48))
NOSE = Ellipsoid((0, -88, -10), (10, 13, 18))
SKULL = Ellipsoid((0, -3, 36), (66, 80, 50))
BRAIN = Ellipsoid((0, -3, 38), (60, 73, 43))
SPINE = Column((0, 36), (13, 12), -8)
CANAL = Column((0, 49), (7, 6), -8)
AIRWAY = Column((0, 2), (8, 7), -18)
NASAL = Ellipsoid((0, -52, -20), (11, 36, 9))
LARYNX = Ellipsoid((0, -6, -98), (15, 13, 14))
TONSILS = (Ellipsoid((20, -10, -30), (7, 8, 11)), Ellipsoid((-20, -10, -30), (7, 8, 11)))
PAROTIDS = (Ellipsoid((50, 6, -14), (9, 13, 18)), Ellipsoid((-50, 6, -14), (9, 13, 18)))
TONGUE = Ellipsoid((0, -52, -32), (20, 24, 16))
MUSCLES = (Column((36, 30), (9, 11), -10), Column((-36, 30), (9, 11), -10), Column((0, 60), (26, 9), -10))
DISC_PITCH_MM = 18.0
COUCH_TOP_MM = 121.0
"""Couch surface behind the centre of the field of view."""


class Anatomy:
    """The outer surface: head, jaw and nose on a neck that widens to the shoulders."""

    centre_mm = (0.0, 0.0, 0.0)
    reach_mm = float("inf")

    def distance(self, points: FloatArray) -> FloatArray:
        """Approximate distance (mm) from the skin; negative inside."""
        x, y, z = points
        widening = np.maximum(-70 - z, 0) * np.float32(0.5)
        neck = (np.sqrt((x / (56 + widening)) ** 2 + ((y - 8) / 60) ** 2) - 1) * 56
        neck = np.maximum(neck, z - 20)
        distance: FloatArray = np.minimum(neck, HEAD.distance(points))
        for part in (JAW, NOSE):
            distance = np.minimum(distance, part.distance(points))
        return distance


class Mandible:
    """A horseshoe of bone around the floor of the mouth."""

    centre_mm = (0.0, -48.0, -44.0)
    reach_mm = 48.0

    def distance(self, points: FloatArray) -> FloatArray:
        """Approximate distance (mm) from its surface; negative inside."""
        x, y, z = points
        ring = np.abs(np.sqrt((x / 36) ** 2 + ((y + 32) / 35) ** 2) - 1) * 35 - 4
        distance: FloatArray = np.maximum(np.maximum(ring, np.abs(z + 44) - 8), y + 28)
        return distance


class Rim:
    """The shell around a tumour, filled; the tumour itself is painted afterwards."""

    def __init__(self, field: TumourField) -> None:
        self.field, self.centre_mm = field, field.tumour.centre_mm
        self.reach_mm = field.reach_mm + RIM_MM

    def distance(self, points: FloatArray) -> FloatArray:
        """Radial distance (mm) from the shell's outer surface; negative inside."""
        return self.field.distance(points) - np.float32(RIM_MM)


class TumourSolid:
    """A tumour as a solid to paint."""

    def __init__(self, field: TumourField) -> None:
        self.field, self.centre_mm, self.reach_mm = field, field.tumour.centre_mm, field.reach_mm

    def distance(self, points: FloatArray) -> FloatArray:
        """Radial distance (mm) from the surface; negative inside."""
        return self.field.distance(points)


def paint_ct(patient: PhantomPatient, field: TumourField, grid: Grid, rigid: FloatArray) -> FloatArray:
    """Noise-free CT (z, y, x) in HU."""
    canvas = VoxelCanvas(grid, rigid, edge_mm=3.0, fill=-1000.0)
    _couch(canvas)
    everywhere = canvas.box(Anatomy(), 0)
    points = canvas.points(everywhere)
    skin = Anatomy().distance(points)
    for depth, value in ((0.0, -90.0), (5.0, 40.0)):
        weight = share_inside(skin + np.float32(depth), canvas.edge_mm)
        canvas.array += weight * (np.float32(value) - canvas.array)
    for muscle in MUSCLES:
        canvas.paint(muscle, 60.0)
    canvas.paint(SKULL, 700.0)
    canvas.paint(BRAIN, 35.0)
    canvas.paint(Mandible(), 700.0)
    _spine(canvas, points)
    canvas.paint(CANAL, 20.0)
    canvas.paint(LARYNX, 90.0)
    for airway in (NASAL, AIRWAY):
        canvas.paint(airway, -1000.0)
    for gland in PAROTIDS:
        canvas.paint(gland, 5.0)
    for node in patient.nodes:
        canvas.paint(node.solid(), 55.0)
    canvas.paint(TumourSolid(field), 75.0)
    return canvas.array


def paint_pet(patient: PhantomPatient, field: TumourField, grid: Grid, rigid: FloatArray) -> FloatArray:
    """Uptake (z, y, x) as SUVbw in g/mL, before the scanner's blur and noise."""
    canvas = VoxelCanvas(grid, rigid, edge_mm=4.0, fill=0.0)
    canvas.paint(Anatomy(), 1.0)
    canvas.paint(SKULL, 0.6)
    canvas.paint(BRAIN, patient.brain_suv)
    canvas.paint(SPINE, 1.5)
    canvas.raise_to(TONGUE, 1.7)
    canvas.raise_to(LARYNX, 2.6)
    for tonsil in TONSILS:
        canvas.raise_to(tonsil, 3.0)
    for gland in PAROTIDS:
        canvas.raise_to(gland, 2.0)
    for airway in (NASAL, AIRWAY):
        canvas.paint(airway, 0.05)
    for node in patient.nodes:
        canvas.paint(node.solid(), node.suv)
    canvas.raise_to(Rim(field), field.tumour.rim_suv)
    _tumour_uptake(canvas, field)
    return canvas.array


def _tumour_uptake(canvas: VoxelCanvas, field: TumourField) -> None:
    box = canvas.box(TumourSolid(field), canvas.edge_mm)
    points = canvas.points(box)
    weight = share_inside(field.distance(points), canvas.edge_mm)
    canvas.array[box] += weight * (field.uptake(points) - canvas.array[box])


def _spine(canvas: VoxelCanvas, points: FloatArray) -> None:
    """Vertebral bodies of bone with discs between them: landmarks along the axis."""
    weight = share_inside(SPINE.distance(points), canvas.edge_mm)
    disc = np.clip(np.cos(points[2] * np.float32(2 * np.pi / DISC_PITCH_MM)) * 4 - 2, 0, 1)
    canvas.array += weight * ((700 - 610 * disc) - canvas.array)


def _couch(canvas: VoxelCanvas) -> None:
    """A curved board of carbon fibre filled with foam, in the scanner's coordinates."""
    middle = canvas.grid.centre_mm()
    x = (canvas.axes[0] - middle[0])[None, :]
    depth = (canvas.axes[1] - middle[1])[:, None] - COUCH_TOP_MM + (x / 40) ** 2
    board = np.maximum(np.abs(depth - 5) - 5, np.abs(x) - 105).astype(np.float32)
    for inset, value in ((0.0, -50.0), (2.5, -850.0)):
        weight = share_inside(board + np.float32(inset), canvas.edge_mm)
        canvas.array += weight * (np.float32(value) - canvas.array)
