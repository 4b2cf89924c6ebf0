"""What docs/contributing.md promises: a network is a settings class and one file, and all else finds it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = '''

class TinyNet(Network):
    """A network of one convolution."""

    kind: Literal["tiny_net"] = "tiny_net"
    filters: int = Field(4, ge=1, le=64, description="Number of filters.")
'''
NETWORK = '''"""A network of one convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.settings.networks.pet_multiscale import TinyNet


class TinyNet3d(nn.Module):
    """A convolution, the mean of its maps, a log-hazard."""

    def __init__(self, settings: TinyNet, in_channels: int, clinical: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(in_channels, settings.filters, 3, padding=1)
        self.last = nn.Linear(settings.filters + clinical, 1)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        features = functional.leaky_relu(self.convolution(image)).mean((2, 3, 4))
        columns = features if clinical is None else torch.cat([features, clinical], 1)
        return {"log_hazard": self.last(columns).squeeze(1).float(), "deep_features": features.float()}


def build(settings: TinyNet, in_channels: int, clinical: int) -> TinyNet3d:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return TinyNet3d(settings, in_channels, clinical)
'''
FOUND = """
from pipeline.nets.catalogue import ENTRIES, table_row
from pipeline.nets.registry import build, network_settings
from pipeline.settings import export
from pipeline.settings.root import load_settings
from tests.settings.minimal import study

settings = load_settings(study(models={"new": {"kind": "tiny_net", "filters": 2}}))
assert settings.networks()["new"].filters == 2
assert network_settings(settings.models["new"].model_dump(mode="json")) == settings.models["new"]
assert sum(p.numel() for p in build(settings.models["new"], 2, 0).parameters()) == 2 * (2 * 27 + 1) + 3
(entry,) = (entry for entry in ENTRIES if entry.settings.kind == "tiny_net")
assert table_row(entry, {"tiny_net": ["mine"]}).startswith("| – | – | `tiny_net` | 2×112×128×128 | 226 |")
assert "## `kind: tiny_net`" in export.reference_markdown()
assert '"tiny_net": "#/$defs/TinyNet"' in export.schema_json()
"""
DIGESTS = """
from pipeline.provenance import code_digest

for kind in ("deepmts", "hecktor", "alexnet"):
    print(code_digest("pipeline.training.train_fold", f"pipeline.nets.{kind}"))
"""


def run(house: Path, *arguments: str) -> str:
    """Run Python in the copy; its output."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=house, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository."""
    house = tmp_path_factory.mktemp("house")
    for part in ("pipeline", "tests/nets", "tests/settings"):
        shutil.copytree(ROOT / part, house / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", house / "pyproject.toml")
    return house


def test_a_settings_class_and_a_file_make_a_network(house: Path) -> None:
    before = run(house, "-c", DIGESTS).split()
    with (house / "pipeline/settings/networks/pet_multiscale.py").open("a", encoding="utf-8") as module:
        module.write(SETTINGS)
    (house / "pipeline/nets/tiny_net.py").write_text(NETWORK, encoding="utf-8")
    run(house, "-c", FOUND)
    suite = run(house, "-m", "pytest", "tests/nets/test_every_network.py", "-k", "tiny_net and TestEvery")
    assert "7 passed" in suite
    after = run(house, "-c", DIGESTS).split()
    assert after[:2] == before[:2], "networks of other papers are not trained again"
    assert after[2] != before[2], "networks whose settings stand in the same module are"
