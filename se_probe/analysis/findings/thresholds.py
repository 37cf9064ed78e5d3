"""Bars and minimum data of findings, with the reason of each. Gate units run from 0 to 1."""

from se_probe.analysis.stats.intervals import FEWEST_CLASSES as FEWEST_CLASSES
from se_probe.analysis.stats.states import STATIC_SD

FEWEST_IMAGES = 5
"""Images that a class needs to count: with five, its variance has a relative error of 70 %, less over classes."""
FEWEST_SITES = 4
"""A trend over fewer sites is one or two differences between neighbours."""
AGNOSTIC_SD = 0.05
"""Gates are the same for all classes where class means differ by less: a twentieth of the range, the distance that
an open gate may have from 1, and about the smallest visible distance of two lines on an axis from 0 to 1."""
SPECIFIC_SD = STATIC_SD
"""Gates whose class means differ by less are not class-specific, whatever share of the variance that is: a gate
that moves by less over images counts as independent of the input."""
RISE_OF_SHARE = 0.1
"""The smallest rise of the share between classes, from the first site to the last, that counts."""
RISE_OF_SD = STATIC_SD
"""Likewise for the standard deviation within classes, in gate units."""
MOST_GATES = 0.5
"""Most activations: more than half."""
SIMILAR = 0.9
"""Two patterns over channels are similar where they share four fifths of their variance (0.9² = 0.81)."""
MODEST_SCALE = 1.25
"""A change of scale by no more than a quarter, up or down, is modest; for 95 % of the classes."""
EVEN_ENTROPY = 0.99
"""Attention is even above this share of the highest entropy: of two branches, none has more than 0.56."""
ONE_BRANCH_ENTROPY = 0.3
"""One branch has all below this: of two branches, one has 0.95."""
MARGINAL_LOSS = 1.0
"""Percentage points of top-1 accuracy up to which a loss is marginal: one image in a hundred. It is less than what SE
blocks gain ResNet-50 in the paper (1.5 points), and about the resolution of a few thousand images: with 2,500, of which
4 % change, the interval reaches 0.8 points to either side. A stage matters less than the others where they lose more
than this beyond its loss."""
FEWEST_RANKED_SITES = 8
"""Sites needed for a rank correlation: with seven, not even one of 0.9 can be told from none."""
SMALL_CORRELATION = 0.3
"""The smallest rank correlation that counts: less is under a tenth of the variance of the ranks."""
