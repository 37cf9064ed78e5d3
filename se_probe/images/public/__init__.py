"""Public sets of labelled images: what they are, where they are kept, and how they are fetched."""

from se_probe.images.public.fetch import fetch
from se_probe.images.public.sets import (
    PUBLIC_SETS,
    PublicSet,
    State,
    fetched_folder,
    full_name,
    is_public_name,
    public_set,
    readable_size,
    state_of,
)

__all__ = [
    "PUBLIC_SETS",
    "PublicSet",
    "State",
    "fetch",
    "fetched_folder",
    "full_name",
    "is_public_name",
    "public_set",
    "readable_size",
    "state_of",
]
