import os
import tarfile
from collections import Counter

import pytest

from se_probe.errors import SeProbeError
from se_probe.images import open_images, select
from se_probe.labels import imagenet
from tests.images.helpers import write_image


def classes(images, *names):
    return [r.image_class for r in images.labels.resolve_all(names)]


def paths(selection, role=None):
    return [e.sample.path for e in selection.entries if role in (None, e.role)]


@pytest.fixture
def images(tree):
    wnids = {"n01443537": 9, "n02110958": 4, "n09246464": 9}
    return open_images(tree(*(f"{w}/{i}.png" for w, n in wnids.items() for i in range(n))), imagenet())


def test_roles_counts_and_order(images):
    selection = select(images, classes(images, "cliff", "goldfish"), per_class=5, reference_per_class=2)
    counts = Counter((e.sample.image_class.name, e.role) for e in selection.entries)
    assert counts == {("goldfish", "chosen"): 5, ("cliff", "chosen"): 5, ("pug", "reference"): 2}
    positions = [e.position for e in selection.entries]
    assert positions == sorted(positions)
    assert [images.samples[p] for p in positions] == [e.sample for e in selection.entries]
    assert [c.name for c in selection.chosen] == ["cliff", "goldfish"]


def test_all_images_of_a_small_class_and_no_reference(images):
    selection = select(images, classes(images, "pug"), per_class=50, reference_per_class=0)
    assert paths(selection) == [f"n02110958/{i}.png" for i in range(4)]


def test_the_draw_of_a_class_does_not_depend_on_other_classes(images):
    alone = select(images, classes(images, "goldfish"), per_class=5, reference_per_class=0, seed=7)
    together = select(images, classes(images, "pug", "goldfish"), per_class=5, reference_per_class=3, seed=7)
    assert paths(alone) == [p for p in paths(together) if p.startswith("n01443537")]


def test_fewer_are_a_subset_of_more(images):
    few, more = (
        set(paths(select(images, classes(images, "goldfish"), per_class=n, reference_per_class=0))) for n in (3, 6)
    )
    assert len(few) == 3
    assert few < more


def test_the_seed_changes_the_draw_and_repeats_it(images):
    draws = [tuple(paths(select(images, classes(images, "goldfish"), per_class=4, seed=s))) for s in (0, 1, 2, 0)]
    assert draws[0] == draws[3]
    assert len(set(draws)) > 1


def test_the_draw_does_not_depend_on_the_order_on_disk_or_the_root(tree, tmp_path_factory, monkeypatch):
    names = [f"n01443537/{i}.png" for i in range(9)] + ["n02110958/0.png"]
    first = open_images(tree(*names), imagenet())
    other = tmp_path_factory.mktemp("other")
    for name in reversed(names):
        write_image(other / "val" / name)
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: Backwards(scandir(path)))
    second = open_images(other, imagenet())
    one, two = (paths(select(i, classes(i, "goldfish"), per_class=4, reference_per_class=1)) for i in (first, second))
    assert [f"val/{path}" for path in one] == two


class Backwards:
    """A directory read in the opposite order."""

    def __init__(self, entries):
        self.entries = entries

    def __enter__(self):
        return reversed(list(self.entries))

    def __exit__(self, *_):
        self.entries.close()


def test_the_rule_is_what_is_done(images):
    from hashlib import sha256

    selection = select(images, classes(images, "goldfish"), per_class=3, reference_per_class=0, seed=5)
    assert selection.rule == (
        "up to 3 images of each chosen class and none of any other class: all images of a class that has no more, "
        "else those whose SHA-256 of 5/CLASS/FILE (CLASS: wnid or name, FILE: file name) is smallest"
    )
    ranked = sorted((f"{i}.png" for i in range(9)), key=lambda file: sha256(f"5/n01443537/{file}".encode()).hexdigest())
    assert paths(selection) == sorted(f"n01443537/{file}" for file in ranked[:3])


def test_the_draw_is_spread_over_the_images(tree):
    images = open_images(tree(*(f"n01443537/{i:02d}.png" for i in range(10))), imagenet())
    drawn = Counter(
        path for seed in range(200) for path in paths(select(images, images.classes, per_class=3, seed=seed))
    )
    # Each image is drawn 60 times on average, with a standard deviation of 6.5.
    assert len(drawn) == 10
    assert all(30 <= count <= 90 for count in drawn.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 0}, "0 images per class were requested; expected 1 or more"),
        (
            {"reference_per_class": -1},
            "-1 reference images per class were requested; expected 0 (no reference) or more",
        ),
    ],
)
def test_counts_out_of_range(images, options, message):
    with pytest.raises(SeProbeError) as caught:
        select(images, images.classes, **options)
    assert str(caught.value) == message


def test_nothing_chosen(images):
    with pytest.raises(SeProbeError, match=r"^no classes were chosen; expected at least one$"):
        select(images, [])


def test_a_chosen_class_without_images_names_the_nearest(images):
    with pytest.raises(SeProbeError) as caught:
        select(images, classes(images, "goldfish", "cliff dwelling"))
    assert str(caught.value) == (
        f"{images.title} has no images of cliff dwelling (500, n03042490); expected one of the 3 classes that it "
        "has, such as goldfish (1, n01443537), pug (254, n02110958), cliff (972, n09246464)"
    )


def test_the_nearest_name_is_found(tree):
    images = open_images(tree("n01443537/a.png", "n02109525/b.png", "n02108915/b.png"), imagenet())
    with pytest.raises(SeProbeError) as caught:
        select(images, [r.image_class for r in imagenet().resolve_all("goldfinch")])
    assert str(caught.value) == (
        f"{images.title} has no images of goldfinch (11, n01531178); expected one of the 3 classes that it has, "
        "the nearest are goldfish (1, n01443537)"
    )


def test_the_papers_fifty_of_each_class_on_real_photographs(tiny_imagenet):
    images = open_images(tiny_imagenet, imagenet())
    selection = select(images, classes(images, "goldfish", "cliff", "tabby", "banana"))
    assert Counter(e.role for e in selection.entries) == {"chosen": 200, "reference": 2300}
    small = select(images, classes(images, "goldfish"), per_class=50, reference_per_class=10)
    assert Counter(e.role for e in small.entries) == {"chosen": 50, "reference": 490}


def test_a_fingerprint_follows_the_contents_of_a_file_and_not_its_time(tree):
    root = tree("goldfish/a.png", "goldfish/b.png", "pug/c.png")
    before = fingerprints(root)
    os.utime(root / "goldfish/a.png", (0, 0))
    assert fingerprints(root) == before
    assert len(set(before.values())) == 3
    write_image(root / "goldfish/a.png", 77)
    (root / "pug/c.png").unlink()
    after = fingerprints(root)
    assert {path for path in after if after[path] != before[path]} == {"goldfish/a.png"}


def test_fingerprints_are_the_same_in_a_tar(tree, tmp_path_factory):
    root = tree("goldfish/a.png", "pug/c.png")
    tar = tmp_path_factory.mktemp("tar") / "images.tar"
    with tarfile.open(tar, "w") as archive:
        archive.add(root, "")
    assert fingerprints(tar) == fingerprints(root)


def test_what_cannot_be_read_has_a_fingerprint_too(tree):
    root = tree("goldfish/a.png")
    os.mkfifo(root / "goldfish/b.png")
    (root / "goldfish/c.png").symlink_to("nowhere")
    found = fingerprints(root)
    assert (found["goldfish/b.png"], found["goldfish/c.png"]) == ("unreadable", "unreadable")


def fingerprints(place):
    images = open_images(place, imagenet())
    selection = select(images, images.classes)
    return {entry.sample.path: entry.sample.fingerprint for entry in selection.entries}
