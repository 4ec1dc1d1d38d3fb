"""How cells reach a processor: in this process, or on Ray."""

from harness.execution.backend import Backend, Limits, Listener, SilentListener
from harness.signals import StopSignal

__all__ = ["Backend", "Limits", "Listener", "SilentListener", "StopSignal"]
