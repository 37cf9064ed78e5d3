"""The Figure that every figure function returns: one that shows itself in a notebook."""

from io import BytesIO

from matplotlib.figure import Figure

from se_probe.figures.style import house_style

SCREEN_DPI = 144


class NotebookFigure(Figure):
    """A matplotlib Figure that a notebook shows as a picture even where nothing has imported pyplot."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        with house_style():
            self.savefig(stream, format="png", dpi=SCREEN_DPI)
        return stream.getvalue()
