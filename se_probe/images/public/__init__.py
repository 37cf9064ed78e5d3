"""Public sets of labelled images: what they are, where they lie once fetched, and how they are fetched."""

from se_probe.images.public.fetch import fetch
from se_probe.images.public.place import State, fetched_folder, state_of
from se_probe.images.public.public_sets import PUBLIC_SETS, PublicSet, full_name, is_public_name, public_set

__all__ = [
    "PUBLIC_SETS",
    "PublicSet",
    "State",
    "fetch",
    "fetched_folder",
    "full_name",
    "is_public_name",
    "public_set",
    "state_of",
]
