"""Base models by name."""

from benchmarks.models.architecture import MODELS, Architecture, build_model, check_model, code_fingerprint
from benchmarks.models.families.python_factory import PythonFactory
from benchmarks.models.families.timm_zoo import HubZoo, TimmZoo
from benchmarks.models.families.torchvision_zoo import TorchvisionZoo
from benchmarks.models.given import (
    GivenModel,
    build_given,
    check_given,
    check_weights,
    complete_given,
    load_given,
    normalisation_of,
    refuse_given,
)
from benchmarks.models.papers.incecnn import InceCNN, InceCNNSettings
from benchmarks.models.papers.rescnn import ResCNN, ResCNNSettings
from benchmarks.models.papers.simcnn import SimCNN, SimCNNSettings
from benchmarks.models.papers.simplecnn import SimpleCNN, SimpleCNNSettings

__all__ = [
    "MODELS",
    "Architecture",
    "GivenModel",
    "HubZoo",
    "InceCNN",
    "InceCNNSettings",
    "PythonFactory",
    "ResCNN",
    "ResCNNSettings",
    "SimCNN",
    "SimCNNSettings",
    "SimpleCNN",
    "SimpleCNNSettings",
    "TimmZoo",
    "TorchvisionZoo",
    "build_given",
    "build_model",
    "check_given",
    "check_model",
    "check_weights",
    "code_fingerprint",
    "complete_given",
    "load_given",
    "normalisation_of",
    "refuse_given",
]
