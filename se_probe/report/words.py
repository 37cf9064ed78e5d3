"""Headings and explanations of table columns in a report."""

from typing import NamedTuple


class ColumnWords(NamedTuple):
    """A heading, its explanation, and the number of decimals (None for whole numbers and text)."""

    label: str
    note: str = ""
    decimals: int | None = 3


SORT_ORDERS = {
    "selectivity": "class selectivity",
    "between_class_sd": "standard deviation between classes",
    "omega_squared": "share of variance between classes (ω²)",
    "d_prime": "d′",
    "within_class_sd": "standard deviation within classes",
}
"""Scores that channels can be sorted by, and their names in the menu."""

CATEGORIES = ("state", "best_class")
"""Columns that classify a channel."""

_COLUMNS = {
    "site": ColumnWords("Site", "SE_{stage}_{block}: stage 2 has a quarter of the input's resolution", None),
    "module": ColumnWords("Module", "Its path in the network", None),
    "family": ColumnWords("Family", "", None),
    "channels": ColumnWords("Channels", "Channels that the gate multiplies", None),
    "branches": ColumnWords("Branches", "Branches that compete for each channel", None),
    "activation": ColumnWords("Activation", "What bounds the gate", None),
    "reduction": ColumnWords("r", "Reduction ratio: channels over the width of the narrowest layer", 1),
    "mean_gate": ColumnWords("Mean", "Mean gate over classes with equal weights and over channels"),
    "between_class_sd": ColumnWords(
        "SD between classes",
        "Standard deviation between the true means of all classes seen, without the noise of the measured means, in "
        "gate units; for a site root mean square over channels",
    ),
    "within_class_sd": ColumnWords(
        "SD within classes",
        "Standard deviation between images of a class, in gate units, root mean square over classes; for a site also "
        "over channels",
    ),
    "verdict": ColumnWords(
        "Gates",
        "live: they depend on the input; saturated: constant and open or closed; collapsed: constant, and the same in "
        "every channel; constant: a fixed scale per channel",
    ),
    "state": ColumnWords(
        "State",
        "dynamic: the gate moves with the image; open, closed or constant: it hardly moves, and stays at that level",
    ),
    "best_class": ColumnWords("Highest class", "Class with the highest mean, of all classes seen"),
    "omega_squared": ColumnWords(
        "ω²",
        "Share of the variance over images that lies between classes, corrected for bias; near 0 where classes do not "
        "differ. A share of a tiny variance means little: read it beside the standard deviations",
    ),
    "parameters": ColumnWords("Parameters", "Parameters that only the gate needs", None),
    "formula_parameters": ColumnWords("2 C² / r", "The SENet paper's formula for its two layers", None),
    "squeeze": ColumnWords("Squeeze", "Additions for one image", None),
    "excitation": ColumnWords("Excitation", "Multiply-adds for one image", None),
    "scale": ColumnWords("Scale", "Multiplications for one image", None),
    "branch": ColumnWords("Branch", "", None),
    "channel": ColumnWords("Channel", "", None),
    "gate": ColumnWords("Gate"),
    "reference": ColumnWords("Reference", "What the gate is compared with"),
    "sd": ColumnWords("SD", "Standard deviation over images of all classes of the run, in gate units"),
    "deviation": ColumnWords("Deviation", "The gate less the mean over the classes of the run, in SDs", 1),
    "first_order": ColumnWords("Effect", "Change of the first answer's logit if the gate were the reference"),
    "word": ColumnWords("Word", "WordNet node whose classes open the gate", None),
    "evidence": ColumnWords("Evidence", "Ninth of the image with most of what moves the gate towards its value", None),
    "omega_interval": ColumnWords("Interval of ω²", "95 % interval for another draw of classes and images"),
    "significant_share": ColumnWords(
        "Class-dependent",
        "Share of channels whose gate depends on the class, with 5 % false discoveries (anova-type test, "
        "Benjamini–Hochberg), among channels that the test can judge",
        2,
    ),
    "dynamic": ColumnWords("Dynamic", "Share of channels whose gate moves with the image", 2),
    "open": ColumnWords("Open", "Share of channels that stay open whatever the image", 2),
    "closed": ColumnWords("Closed", "Share of channels that stay closed whatever the image", 2),
    "entropy": ColumnWords("Entropy", "Entropy of the attention over branches, as a share of its maximum"),
    "effective_rank": ColumnWords("Effective rank", "Number of directions in which gates move over images", 1),
    "accuracy": ColumnWords(
        "Decoding", "Balanced accuracy of a linear classifier of the chosen classes on images held out", 2
    ),
    "chance": ColumnWords("Chance", "Accuracy of guessing", 2),
    "selectivity": ColumnWords(
        "Class selectivity",
        "Class selectivity index over all classes seen (Morcos et al. 2018): the highest class mean less the mean of "
        "the others, as a share of their sum; compressed where gates lie near 0.5",
    ),
    "agreement": ColumnWords(
        "r", "Pearson's correlation of first-order effects with exact ones, over single channels of single images"
    ),
    "slope": ColumnWords("Slope", "Of exact effects on first-order ones, least squares", 2),
    "rmse": ColumnWords("RMSE", "Root mean square difference of first-order and exact effects, in their unit", 4),
    "holds": ColumnWords("Holds", "r is 0.8 or more, and the slope between 0.5 and 1.5", None),
    "effect": ColumnWords(
        "Effect", "Root mean square effect over images, classes with equal weights, mean over channels", 4
    ),
    "half_share": ColumnWords("Half", "Smallest share of channels that carry half of the sum of effects", 2),
    "effect_selectivity": ColumnWords(
        "ρ with ω²", "Rank correlation over channels of the size of the effect with ω² of the gate", 2
    ),
    "partial": ColumnWords("at equal spread", "The same with the standard deviation of the gate held fixed", 2),
    "d_prime": ColumnWords("d′", "Distance of the highest class from the others in standard deviations over images"),
}


def words_for(column: str) -> ColumnWords:
    """Return the words for a column; an unknown one is headed by its name."""
    return _COLUMNS.get(column, ColumnWords(column.replace("_", " ")))
