"""Base models by name."""

from benchmarks.models.architecture import MODELS, Architecture, build_model, check_model, code_fingerprint
from benchmarks.models.papers.incecnn import InceCNN, InceCNNSettings
from benchmarks.models.papers.rescnn import ResCNN, ResCNNSettings
from benchmarks.models.papers.simcnn import SimCNN, SimCNNSettings
from benchmarks.models.papers.simplecnn import SimpleCNN, SimpleCNNSettings
from benchmarks.models.python_factory import PythonFactory
from benchmarks.models.torchvision_zoo import TorchvisionZoo

__all__ = [
    "MODELS",
    "Architecture",
    "InceCNN",
    "InceCNNSettings",
    "PythonFactory",
    "ResCNN",
    "ResCNNSettings",
    "SimCNN",
    "SimCNNSettings",
    "SimpleCNN",
    "SimpleCNNSettings",
    "TorchvisionZoo",
    "build_model",
    "check_model",
    "code_fingerprint",
]
