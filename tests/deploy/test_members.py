"""Which models a bundle can hold."""

from __future__ import annotations

import pytest

from pipeline.deploy.manifest import BundleError
from pipeline.deploy.members import require_packable
from pipeline.settings.kinds import read_models


def test_what_cannot_be_packed_is_named() -> None:
    models = read_models(
        {
            "good": {"kind": "lasso_cox", "harmonise": "none"},
            "net": {"kind": "deepmts"},
            "forest": {"kind": "rsf", "harmonise": "none"},
            "even": {"kind": "lasso_cox", "harmonise": "combat"},
            "truth": {"kind": "column", "column": "truth_log_hazard"},
            "deep": {"kind": "lasso_cox", "deep": "net"},
            "rim": {"kind": "univariate", "contour": "peritumoral"},
        }
    )
    with pytest.raises(BundleError) as error:
        require_packable(models)
    text = str(error.value)
    assert "forest (rsf)" in text and "even (lasso_cox) harmonises" in text and "truth (column)" in text
    assert "deep (lasso_cox) reads deep features" in text and "contour 'peritumoral'" in text
    assert "good" not in text and "net (" not in text
    require_packable({name: models[name] for name in ("good", "net")})
