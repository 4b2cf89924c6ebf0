"""Fixtures of a small synthetic study."""

from __future__ import annotations

from tests.training.synthetic_study import job, study

__all__ = ["job", "study"]
