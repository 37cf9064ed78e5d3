"""Figures from the tables of the analyses: each function takes results and returns a Figure."""

from se_probe.figures.caption import caption_line
from se_probe.figures.role_of_excitation import role_of_excitation
from se_probe.figures.save import save_figure
from se_probe.figures.within_class import within_class

__all__ = ["caption_line", "role_of_excitation", "save_figure", "within_class"]
