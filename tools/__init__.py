"""Tools outside the package: they make what is bundled with it."""
