"""Fixtures of a small synthetic study."""

from __future__ import annotations

from tests.training.synthetic_study import study

__all__ = ["study"]
