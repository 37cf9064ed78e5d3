"""What holds for every layout and every set of names, tried on many."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from se_probe.errors import SeProbeError
from se_probe.images import open_images, select
from se_probe.images.listing import readable
from se_probe.labels import imagenet

SETTINGS = settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
WNIDS = [image_class.wnid for image_class in imagenet().classes]
KINDS = {"wnid": WNIDS.__getitem__, "index": str}
# What a file may be called on Linux: any bytes but a slash and the zero byte; a dot first would hide it.
STEMS = st.binary(min_size=1, max_size=20).filter(lambda name: not set(name) & set(b"/\0") and name[:1] != b".")
CONTENTS = st.dictionaries(st.integers(0, 999), st.integers(1, 3), min_size=1, max_size=5)
MANY = st.dictionaries(st.integers(0, 999), st.integers(1, 9), min_size=1, max_size=3)


def made(names: list[bytes]) -> tempfile.TemporaryDirectory:
    """A folder with empty files of these names in it."""
    folder = tempfile.TemporaryDirectory()
    for name in names:
        path = Path(folder.name.encode().decode(), name.decode("utf-8", "surrogateescape"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@SETTINGS
@given(CONTENTS, st.sampled_from(sorted(KINDS)), st.sampled_from(["", "val/", "a/b/"]))
def test_class_folders_give_each_image_the_class_of_its_folder(contents, kind, above):
    names = [f"{above}{KINDS[kind](index)}/{i}.png" for index, count in contents.items() for i in range(count)]
    with made([name.encode() for name in names]) as folder:
        images = open_images(folder, imagenet())
    assert {c.index: count for c, count in images.counts.items()} == contents
    assert [sample.image_class.index for sample in images.samples] == sorted(
        index for index, count in contents.items() for _ in range(count)
    )
    assert sorted(sample.path for sample in images.samples) == sorted(names)
    assert images.ignored == 0


@SETTINGS
@given(CONTENTS, st.randoms(use_true_random=False))
def test_every_way_to_say_the_classes_means_the_same(contents, random):
    pairs = [(f"x{index}_{i}", index) for index, count in contents.items() for i in range(count)]
    random.shuffle(pairs)
    expected = dict(pairs)
    layouts = {
        "wnid in the name": [f"{WNIDS[index]}_{name}.JPEG" for name, index in pairs],
        "label file": [f"{name}.JPEG" for name, _ in pairs],
        "Tiny-ImageNet": [f"val/images/{name}.JPEG" for name, _ in pairs],
        "Kaggle": [f"{name}.JPEG" for name, _ in pairs],
    }
    texts = {
        "label file": ("labels.txt", "\n".join(f"{name}.JPEG {index}" for name, index in pairs)),
        "Tiny-ImageNet": (
            "val/val_annotations.txt",
            "".join(f"{name}.JPEG\t{WNIDS[index]}\t0\t0\t9\t9\n" for name, index in pairs),
        ),
        "Kaggle": (
            "LOC_val_solution.csv",
            "ImageId,PredictionString\n" + "".join(f"{name},{WNIDS[index]} 0 0 9 9\n" for name, index in pairs),
        ),
    }
    for layout, names in layouts.items():
        with made([name.encode() for name in names]) as folder:
            if layout in texts:
                place, text = texts[layout]
                Path(folder, place).write_text(text)
            samples = open_images(folder, imagenet()).samples
        found = {Path(s.path).stem.removeprefix(f"{s.image_class.wnid}_"): s.image_class.index for s in samples}
        assert found == expected, layout


@SETTINGS
@given(st.sets(STEMS, min_size=1, max_size=8))
def test_names_of_any_bytes_are_valid_text_of_one_line_and_lead_to_their_files(stems):
    with made([b"n01443537/" + stem + b".png" for stem in stems]) as folder:
        try:
            images = open_images(folder, imagenet())
        except SeProbeError as error:
            assert "both shown as" in str(error)  # noqa: PT017
            return
        assert len(images.samples) == len(stems)
        for sample in images.samples:
            assert sample.path.encode().decode() == sample.path
            assert len(sample.path.splitlines()) == 1
            with pytest.raises(OSError, match="the file is empty"):
                images.source.open(sample.path)


@SETTINGS
@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])))
def test_readable_names_stay_as_they_are(name):
    assert readable(name) == name
    assert readable(readable(name + "\n")) == readable(name + "\n")


@SETTINGS
@given(MANY, st.integers(0, 5), st.integers(0, 2**32), st.data())
def test_fewer_images_are_a_subset_of_more_whatever_else_is_there(contents, limit, seed, data):
    names = [f"{index}/{i}.png" for index, count in contents.items() for i in range(count)]
    with made([name.encode() for name in names]) as folder:
        images = open_images(folder, imagenet())
    chosen = [data.draw(st.sampled_from(images.classes))]

    def paths(per_class, reference):
        selection = select(images, chosen, per_class=per_class, reference_per_class=reference, seed=seed)
        return {entry.sample.path for entry in selection.entries}

    fewer, more = paths(limit + 1, limit), paths(limit + 2, limit + 1)
    assert fewer <= more
    counts = {index: sum(path.startswith(f"{index}/") for path in fewer) for index in contents}
    own = chosen[0].index
    assert counts == {i: min(count, limit + (i == own)) for i, count in contents.items()}
