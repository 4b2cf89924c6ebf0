"""Every network with its size: the table of docs/networks.md.

`python -m pipeline.nets.catalogue` writes the table anew; a test keeps it in step. Parameters and
floating-point operations (a multiply-add is two) are counted on torch's meta device, which
computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.nets.registry import build
from pipeline.settings.kinds import NETWORKS
from pipeline.settings.losses import LossSettings
from pipeline.settings.network import Network
from pipeline.settings.networks.chest_ct import ChestCt
from pipeline.settings.networks.deepmts import (
    BaselineMtHs,
    CnnSurvival,
    DeepMts,
    Dlpm,
    Mdsn,
    MtCasNet,
    MtHs,
    SegBackbone,
    SurCasNet,
    SurHs,
)
from pipeline.settings.networks.disks import RNet, SrNet, SthenrNet
from pipeline.settings.networks.hecktor import Hecktor
from pipeline.settings.networks.pet_multiscale import (
    AlexNet,
    ChenNet,
    Cnn6,
    DenseNet169,
    InceptionV3,
    QuNet,
    ResNet50,
    RpetNet,
    Vgg,
    VNet,
    WNet,
    WslCam,
)

if TYPE_CHECKING:
    from pipeline.nets.mask_rcnn import MaskRcnn

PAGE = Path("docs/networks.md")
BEGIN, END = "<!-- table: python -m pipeline.nets.catalogue -->", "<!-- end of the table -->"
HEAD = (
    "| paper | row | `kind` and settings | image | parameters | GFLOP | outputs | study |\n"
    "|---|---|---|---|---|---|---|---|\n"
)
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Entry:
    """A network as a row of the table.

    Attributes:
        paper: Name of the paper in docs/networks.md; a dash where it is of none.
        row: Table and row of the paper that its numbers stand in.
        settings: Its section of a study; what differs from the default is shown.
        shape: The image (z, y, x) of the paper, or the one taken where it prints none.
        channels: Number of channels of the image.
        clinical: Number of clinical features.
    """

    paper: str
    row: str
    settings: Network
    shape: Shape
    channels: int
    clinical: int = 0


DEEPMTS, HECKTOR, PET = (112, 128, 128), (144, 144, 144), (128, 128, 128)
DISKS, CHEST = (1, 240, 240), (1, 256, 256)
ONE, TWO = (
    LossSettings(labels=names) for names in (("label_outcome",), ("label_pathology", "label_outcome"))
)
WEAK = LossSettings(dice=0.0, labels=TWO.labels)

LISTED = (
    *(
        Entry("DeepMTS", row, settings, DEEPMTS, 2, 1)
        for row, settings in (
            ("II–IV DeepMTS", DeepMts()),
            ("IV DeepMTS (U-net)", DeepMts(backbone="unet")),
            ("III–V Seg-Backbone", SegBackbone()),
            ("IV U-net", SegBackbone(backbone="unet")),
            ("III Sur-HS", SurHs()),
            ("III Sur-CasNet", SurCasNet()),
            ("III–V MT-HS", MtHs()),
            ("IV MT-HS (U-net)", MtHs(backbone="unet")),
            ("V MT-HS (baseline)", BaselineMtHs()),
            ("III, IV MT-CasNet", MtCasNet()),
            ("II CNN-Survival", CnnSurvival()),
            ("II MDSN", Mdsn()),
            ("II DLPM", Dlpm()),
        )
    ),
    *(
        Entry("HECKTOR", row, settings, HECKTOR, 2)
        for row, settings in (
            ("1, 2 multi-task (1, 1)", Hecktor()),
            ("2 segmentation (0, 1)", Hecktor(task="segmentation")),
            ("1 deep radiomics (1, 0)", Hecktor(task="survival")),
        )
    ),
    *(
        Entry("PET multi-scale", row, settings, PET, 1)
        for row, settings in (
            ("1, 4 all four tasks", WNet()),
            ("2 U-Net (T2)", WNet(tasks=("segmentation",))),
            ("2 V-Net", VNet()),
            ("2, 3 WSL-MTL", WslCam(outcome="label", losses=WEAK)),
            ("3 AlexNet", AlexNet(outcome="label", losses=ONE)),
            ("3 VGG-16", Vgg(outcome="label", losses=ONE)),
            ("3 VGG-19", Vgg(layers=19, outcome="label", losses=ONE)),
            ("3 ResNet50", ResNet50(outcome="label", losses=ONE)),
            ("3 169-layer DenseNet", DenseNet169(outcome="label", losses=ONE)),
            ("3 InceptionV3", InceptionV3(outcome="label", losses=ONE)),
            ("3 3D-RPET-NET", RpetNet(outcome="label", losses=ONE)),
            ("3 6 layers CNN", Cnn6(outcome="label", losses=ONE)),
            ("5 Zhou", VNet(classify=True, outcome="label", losses=TWO)),
            ("5 Chen", ChenNet(outcome="label", losses=TWO)),
            ("5 Qu", QuNet(outcome="label", losses=TWO)),
        )
    ),
    *(
        Entry("Disks", f"1 {row}", settings, DISKS, 1)
        for row, settings in (("R-net", RNet()), ("SR-net", SrNet()), ("SthenR-net", SthenrNet()))
    ),
    *(
        Entry("Chest CT", row, settings, CHEST, 1)
        for row, settings in (
            ("2 classification, reconstruction", ChestCt()),
            ("2 classification", ChestCt(tasks=("classification",))),
            ("3 segmentation, reconstruction", ChestCt(tasks=("segmentation", "reconstruction"))),
            ("Fig. 3 detection, reconstruction", ChestCt(tasks=("detection", "reconstruction"))),
            ("Fig. 4 ResNet-50", ChestCt(encoder="resnet50")),
            ("Fig. 4 ResNet-50", ChestCt(encoder="resnet50", tasks=("segmentation", "reconstruction"))),
        )
    ),
)


def default_entry(kind: type[Network]) -> Entry:
    """The row of a network that no paper's table is given for: its defaults, on PET and CT or on one slice."""
    shape, channels = (DISKS, 1) if kind.is_flat else (DEEPMTS, 2)
    return Entry("–", "–", kind.model_validate({}), shape, channels, int(kind.takes_clinical))


ENTRIES = (
    *LISTED,
    *(default_entry(kind) for kind in NETWORKS if kind not in {type(entry.settings) for entry in LISTED}),
)
"""Rows of the table: those of the papers, then kinds of network that have none among them."""


def on_meta(entry: Entry) -> Any:
    """The network without its numbers."""
    with torch.device("meta"):
        return build(entry.settings, entry.channels, entry.clinical).eval()


def parameters(net: torch.nn.Module) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in net.parameters())


def flop(entry: Entry, net: Any = None) -> int:
    """Floating-point operations of one image's forward pass in evaluation mode."""
    from torch.utils.flop_counter import FlopCounterMode

    net = on_meta(entry) if net is None else net
    with torch.device("meta"):
        image, mask = torch.empty(1, entry.channels, *entry.shape), torch.empty(1, *entry.shape)
        clinical = torch.empty(1, entry.clinical)
    # What is proposed depends on the image, which the meta device has not: the heads are run on their own.
    heads, net.detection = getattr(net, "detection", None), None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image, clinical, mask)
        if heads is not None:
            _run_heads(heads, entry.shape)
    net.detection = heads
    return int(counter.get_total_flops())


def _run_heads(heads: MaskRcnn, shape: Shape) -> None:
    """Proposals on the whole map, 64 boxes, 16 masks."""
    from pipeline.nets.instances import LARGEST
    from pipeline.nets.mask_rcnn import BOX_GRID, MASK_GRID, PROPOSALS, STRIDE

    channels = heads.propose.in_channels
    with torch.device("meta"):
        maps = torch.empty(1, channels, shape[1] // STRIDE, shape[2] // STRIDE)
        boxes = torch.empty(PROPOSALS, channels * BOX_GRID**2)
        masks = torch.empty(LARGEST, channels, MASK_GRID, MASK_GRID)
    hidden, features = heads.propose(maps), heads.dense(boxes)
    for layer, x in (
        (heads.objectness, hidden), (heads.offsets, hidden), (heads.kind, features), (heads.box, features),
        (heads.mask, masks),
    ):  # fmt: skip
        layer(x)


def shown(settings: Network) -> str:
    """The kind, and what is not its default but for labels and losses."""
    changed = settings.model_dump(exclude_defaults=True, exclude={"kind", "losses", "outcome"})
    parts = [
        f"{key}: {'[' + ', '.join(value) + ']' if isinstance(value, tuple) else str(value).lower()}"
        for key, value in changed.items()
    ]
    return ", ".join(f"`{part}`" for part in (settings.kind, *parts))


def studies_with(root: Path) -> dict[str, list[str]]:
    """Studies of the repository by the kinds of networks that they train."""
    import yaml

    studies: dict[str, list[str]] = {}
    for path in (*sorted((root / "config" / "studies").rglob("*.yaml")), root / "config" / "config.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        name = content["study"]["name"]
        for kind in {model["kind"] for model in content["models"].values()}:
            studies.setdefault(kind, []).append(name)
    return studies


def table_row(entry: Entry, studies: Mapping[str, Sequence[str]]) -> str:
    """A row of the table, in Markdown.

    Args:
        entry: The network.
        studies: Names of studies by the kinds of networks that they train.
    """
    net = on_meta(entry)
    cells = (
        entry.paper,
        entry.row,
        shown(entry.settings),
        "×".join(str(side) for side in (entry.channels, *entry.shape)),
        f"{parameters(net):,}",
        f"{flop(entry, net) / 1e9:,.1f}",
        ", ".join(sorted(entry.settings.gives())),
        ", ".join(sorted(studies.get(entry.settings.kind, []))) or "–",
    )
    return "| " + " | ".join(cells) + " |\n"


def table(root: Path) -> str:
    """The table, in Markdown."""
    studies = studies_with(root)
    return "".join([HEAD, *(table_row(entry, studies) for entry in ENTRIES)])


def renewed(page: str, root: Path) -> str:
    """The page with the table of now between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table(root)}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), Path()), encoding="utf-8")
