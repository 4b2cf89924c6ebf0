"""Threads of each kind of job; results do not depend on how many jobs run at once."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings.base import Section


class ThreadSettings(Section):
    """CPU threads a job may use."""

    train_fold: int = Field(1, ge=1, description="Threads of one fold's training.")
    survival: int = Field(1, ge=1, description="Threads of a classical model.")
    radiomics: int = Field(1, ge=1, description="Threads of one patient's features.")
