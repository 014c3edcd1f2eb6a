"""What models take: input specs as plain data, and modules that make a model's input of a batch."""

from __future__ import annotations

from geodata.zoo.spec import InputSpec, ModelInput, missing, presets

__all__ = ["InputSpec", "ModelInput", "missing", "presets"]
