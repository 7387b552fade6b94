"""torchvision's form: its state dicts load by key, and give its logits."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no network to test with")

from fcn_edge.errors import BadInput  # noqa: E402 - needs torch
from fcn_edge.models.checkpoint import network_from_recipe  # noqa: E402
from fcn_edge.models.dilated import DilatedFCN  # noqa: E402
from fcn_edge.models.fcn import multiply_accumulates  # noqa: E402
from fcn_edge.registry import NetworkRecipe  # noqa: E402
from tests.models.published import PARAMETERS, randomised, torchvision_fcn  # noqa: E402
from tests.refusals import refused  # noqa: E402

NARROW = 1 / 16
SAME_LOGITS = 1e-9  # of float64 sums in another order
GMAC = {"resnet50": 152.717, "resnet101": 232.738}  # torchvision states these at 520x520, both heads together
AUXILIARY_GMAC = (1024 * 256 * 9 + 256 * 21) * 65**2 / 1e9


@pytest.mark.parametrize("depth", [50, 101])
def test_network_has_the_published_entries_and_size(depth):
    with torch.device("meta"):
        ours, published = DilatedFCN(f"resnet{depth}", 21), torchvision_fcn(f"fcn_resnet{depth}")
    shapes = [{name: tuple(value.shape) for name, value in net.state_dict().items()} for net in (ours, published)]
    assert shapes[0] == shapes[1]
    count = sum(weight.numel() for weight in ours.parameters())
    assert count == PARAMETERS[f"fcn_resnet{depth}"]


@pytest.mark.parametrize("depth", [50, 101])
def test_network_has_its_published_cost(depth):
    with torch.device("meta"):
        network = DilatedFCN(f"resnet{depth}", 21).eval()
    gmac = multiply_accumulates(network, 520, 520) / 1e9 + AUXILIARY_GMAC
    assert round(gmac, 3) == GMAC[f"resnet{depth}"]


@pytest.mark.parametrize("depth", [50, 101])
@pytest.mark.parametrize("size", [(64, 96), (70, 50)])
def test_logits_are_those_of_torchvision(depth, size):
    torch.manual_seed(4)
    published = randomised(torchvision_fcn(f"fcn_resnet{depth}", NARROW)).double()
    network = DilatedFCN(f"resnet{depth}", 21, width=NARROW).double().eval()
    network.load_state_dict(published.state_dict())
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.inference_mode():
        wanted, found = published(x), network.training_logits(x)
        assert torch.equal(network(x), found[0]), "the auxiliary head is for training only"
    assert len(found) == len(wanted) == 2
    for ours, theirs in zip(found, wanted):
        assert ours.shape == (2, 21, *size)
        assert (ours - theirs).abs().max() <= SAME_LOGITS * theirs.abs().max()


def test_scores_lie_at_stride_8():
    with torch.device("meta"):
        network = DilatedFCN("resnet50", 5).eval()
    assert network.scores(torch.zeros(1, 3, 64, 96, device="meta")).shape == (1, 5, 8, 12)
    assert network.score_stride == 8 and network.score_sampling(64, 96).size == (64, 96)
    assert network.skip_names == () and not network.has_learned_last


@pytest.mark.parametrize(
    "fields", [{"stride": 16}, {"fuse": "concat"}, {"geometry": "pad100"}, {"learn_last": True}], ids=str
)
def test_what_the_form_has_not_is_refused(fields):
    recipe = NetworkRecipe("resnet50", "voc", form="torchvision", **fields)
    with refused(BadInput, "torchvision", "stride", "fuse", "geometry", "learn_last"):
        network_from_recipe(recipe, 21)


def test_backbone_that_is_no_resnet_is_refused():
    with refused(BadInput, "torchvision", "resnet18", "resnet101", "vgg16"):
        network_from_recipe(NetworkRecipe("vgg16", "voc", form="torchvision"), 21)
