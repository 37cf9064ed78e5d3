"""Networks by name: building them, their weights, their preprocessing and the meaning of their outputs."""

from se_probe.models.file_source import function_from_file
from se_probe.models.load import load_architecture, load_model, model_of, with_input_size
from se_probe.models.network import LoadedModel
from se_probe.models.spec import parse_model_args

__all__ = [
    "LoadedModel",
    "function_from_file",
    "load_architecture",
    "load_model",
    "model_of",
    "parse_model_args",
    "with_input_size",
]
