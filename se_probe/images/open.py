"""Open a folder, a tar, a named or public data set or the demo's drawings as one labelled set of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from se_probe.errors import SeProbeError
from se_probe.images.classes import match_labels
from se_probe.images.imageset import FileSource, ImageSet, Sample, sample_order
from se_probe.images.layouts import Layout, detect_layout, webdataset_layout
from se_probe.images.listing import Listing, readable
from se_probe.images.public import fetched_folder, full_name, is_public_name, public_set
from se_probe.images.remote import list_place, list_shards, shown_url
from se_probe.images.timm_datasets import is_dataset_name, open_hugging_face
from se_probe.io.files import is_url
from se_probe.labels import LabelSpace, imagenet


def open_images(data: str | Path, labels: LabelSpace | None = None, *, unlabelled: bool = False) -> ImageSet:
    """Return the labelled images of a folder, a .tar file, a public set, or a data set by its name in timm.

    A folder or .tar may be behind an fsspec URL (`s3://`, `gs://`, `memory://` ...), a .tar also on a web server.
    Folders: `<wnid>/`, `<class name>/`, `<index>/` (the number of the network's output unit), flat `<wnid>_*.JPEG`,
    flat files with a label file, the validation images of Tiny-ImageNet and of Kaggle's ImageNet.

    Args:
        data: a path; a URL; a public set that `se_probe.fetch` downloads (`imagenetv2`, `tiny-imagenet`); `hfds/NAME`
            or `hfids/NAME`, with `#SPLIT` where there are several; `wds/PLACE`, a folder or pattern of shards. A
            folder of such a name is given as `./hfds/...`.
        labels: the network's classes; without them, names and WordNet ids are classes of the data's own.
        unlabelled: whether images without any labels are accepted, as one class "images".

    Raises:
        SeProbeError: there are no images, or their classes are not clear.
    """
    name = str(data)
    if is_dataset_name(name):
        if not name.lower().startswith("wds/"):
            return open_hugging_face(name, labels)
        listing = list_shards(name.partition("/")[2], name)
        return replace(_image_set(listing, webdataset_layout(listing), labels), title=name)
    if isinstance(data, str) and is_public_name(data):
        public = _open_files(fetched_folder(data), labels, by_index=public_set(data)[0].imagenet_indices)
        return replace(public, title=full_name(data))
    return _open_files(data, labels, unlabelled=unlabelled)


def _open_files(
    place: str | Path, labels: LabelSpace | None, *, by_index: bool = False, unlabelled: bool = False
) -> ImageSet:
    listing = list_place(place)
    layout = detect_layout(listing, labels, unlabelled=unlabelled)
    layout = _indices_as_wnids(layout, readable(listing.root)) if by_index else layout
    return replace(_image_set(listing, layout, labels), location=_location(place))


def _image_set(listing: Listing, layout: Layout, labels: LabelSpace | None) -> ImageSet:
    title = readable(listing.root)
    matched = match_labels(layout.labelled.values(), labels, title)
    samples = (Sample(name, matched.by_text[text]) for name, text in layout.labelled.items())
    return ImageSet(
        title=title,
        samples=tuple(sorted(samples, key=sample_order)),
        labels=matched.labels,
        layout=f"{layout.words.format(kind=matched.kind)} {matched.summary(len(layout.labelled))}",
        ignored=len(listing.files) - len(layout.labelled) + listing.hidden,
        source=FileSource({name: listing.files[name] for name in layout.labelled}),
    )


def _location(place: str | Path) -> str | None:
    """Return the path or URL of the data, None where it is no valid text or may hold a secret."""
    if is_url(place):
        return str(place) if shown_url(str(place)) == str(place) else None
    path = str(Path(place).expanduser().resolve())
    return path if readable(path) == path else None


def _indices_as_wnids(layout: Layout, where: str) -> Layout:
    wnids = {str(image_class.index): image_class.wnid for image_class in imagenet().classes}
    other = next((text for text in layout.labelled.values() if text not in wnids), None)
    if other is not None:
        raise SeProbeError(f"{where}: the folder {other} is no index of ImageNet-1k; remove it, or fetch the set again")
    labelled = {name: wnids[text] or text for name, text in layout.labelled.items()}
    return Layout(f"{layout.words.format(kind='index of ImageNet-1k')}, read as {{kind}}", labelled)


@dataclass(frozen=True)
class Drawings:
    """The demo's drawings, drawn when opened, with the object enlarged `scale` times on the same background."""

    scale: float = 1.0

    def open(self, path: str) -> Image.Image:
        """Return the drawing of a path "demo/CLASS/INSTANCE"."""
        from se_probe.demo import draw, stimulus_factors

        _, name, instance = path.split("/")
        own = stimulus_factors(name, int(instance)).scale
        return draw(name, int(instance), scale=own * self.scale)

    def fingerprint(self, path: str) -> None:
        """Return None: a drawing is determined by its path."""


def demo_images() -> ImageSet:
    """Return the demo's held-out drawings of each class, drawn when they are opened."""
    from se_probe.demo import DEMO_CLASSES, DEMO_INSTANCES

    samples = (
        Sample(f"demo/{image_class.name}/{instance:04d}", image_class)
        for image_class in DEMO_CLASSES.classes
        for instance in range(DEMO_INSTANCES)
    )
    return ImageSet(
        title="demo",
        samples=tuple(sorted(samples, key=sample_order)),
        labels=DEMO_CLASSES,
        layout=f"demo drawings ({len(DEMO_CLASSES.classes)} classes, {DEMO_INSTANCES} held-out instances of each)",
        ignored=0,
        source=Drawings(),
    )
