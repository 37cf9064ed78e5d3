import gc
import json
import tarfile

import pytest

from se_probe.errors import SeProbeError
from se_probe.images import batches, open_images, select, timm_datasets
from se_probe.labels import imagenet, label_space_from_names
from tests.images.helpers import first_pixels, to_first_pixel, write_image


def values(images, *names, workers=0, **options):
    chosen = [r.image_class for r in images.labels.resolve_all(names)]
    selection = select(images, chosen, **options)
    loaded = list(batches(selection, to_first_pixel, batch_size=2, workers=workers))
    found = {selection.entries[i].sample.path: value for i, value in first_pixels(loaded).items()}
    return found, [(skip.path, skip.reason) for batch in loaded for skip in batch.skipped]


def error_of(data, labels=None):
    with pytest.raises(SeProbeError) as caught:
        open_images(data, labels)
    return str(caught.value)


@pytest.fixture
def hub_folder(tree, tmp_path_factory, monkeypatch):
    """A local image folder of two splits as Hugging Face's library reads it, with a cache of its own."""
    datasets = pytest.importorskip("datasets")
    cache = tmp_path_factory.mktemp("hf")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    names = [f"{s}/{w}/{i}.png" for s in ("train", "validation") for w in ("n02110958", "n01443537") for i in range(2)]
    return tree(*names)


def test_a_local_hugging_face_folder(hub_folder):
    images = open_images(f"hfds/{hub_folder}", imagenet())
    assert images.layout == "Hugging Face data set, split validation, labelled by wnid (2 classes, 4 images)"
    assert not images.streamed
    # The library sorts by class name: goldfish (n01443537, values 6 and 7) comes before pug (4 and 5).
    found, skipped = values(images, "pug", reference_per_class=1, workers=2)
    goldfish = [path for path in found if path.startswith(("00000000#", "00000001#"))]
    assert {path: found[path] for path in found if path not in goldfish} == {"00000002#0.png": 4, "00000003#1.png": 5}
    assert [found[path] for path in goldfish] in ([6], [7])
    assert skipped == []


def test_a_split_by_name(hub_folder):
    images = open_images(f"HFDS/{hub_folder}#train", imagenet())
    assert images.layout == "Hugging Face data set, split train, labelled by wnid (2 classes, 4 images)"
    assert sorted(values(images, "pug", "goldfish")[0].values()) == [0, 1, 2, 3]


def test_a_split_that_is_not_there(hub_folder):
    data = f"hfds/{hub_folder}#test"
    assert error_of(data) == f"{data}: there is no split test; expected one of train, validation"


def test_a_streamed_hugging_face_folder(hub_folder):
    data = hub_folder / "validation"
    images = open_images(f"hfids/{data}", imagenet())
    assert images.layout == "streamed Hugging Face data set, split train, labelled by wnid (2 classes, 4 images)"
    assert images.streamed
    expected = {"00000000": 6, "00000001": 7, "00000002": 4, "00000003": 5}
    for workers in (0, 2):
        assert values(images, "pug", "goldfish", workers=workers) == (expected, [])


def test_an_undecodable_image_is_skipped_and_the_rest_stays_in_step(hub_folder):
    (hub_folder / "validation/n01443537/1.png").write_bytes(b"no image")
    for kind, name in (("hfds", "00000001#1.png"), ("hfids", "00000001")):
        found, skipped = values(open_images(f"{kind}/{hub_folder}", imagenet()), "pug", "goldfish")
        assert list(found.values()) == [6, 4, 5]
        assert skipped == [(name, "not an image that Pillow can read")]


def test_a_saved_hugging_face_data_set(hub_folder, tmp_path_factory):
    import datasets

    saved = tmp_path_factory.mktemp("saved")
    datasets.load_dataset(str(hub_folder), split="validation").select([3, 0]).save_to_disk(saved)
    images = open_images(f"hfds/{saved}", imagenet())
    assert sorted(values(images, "pug", "goldfish")[0].values()) == [5, 6]


def test_class_names_in_the_networks_order_may_be_ambiguous(hub_folder):
    import datasets

    labels = label_space_from_names(["n02012849", "n03126707"], "two cranes")
    write_image(hub_folder / "one.png", 9)
    rows = {"image": [str(hub_folder / "one.png")] * 2, "label": [1, 0]}
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["crane", "crane, lifting machine"])}
    saved = hub_folder / "saved"
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).save_to_disk(saved)
    images = open_images(f"hfds/{saved}", labels)
    assert [(s.path, s.image_class.wnid) for s in images.samples] == [
        ("00000001#one.png", "n02012849"),
        ("00000000#one.png", "n03126707"),
    ]
    assert images.layout == (
        "Hugging Face data set, split all, labelled by index, in the order of the network's labels "
        "(2 classes, 2 images)"
    )


def test_unlabelled_rows_are_refused(hub_folder):
    import datasets

    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])}
    rows = {"image": [str(hub_folder / "train/n01443537/0.png")], "label": [-1]}
    saved = hub_folder / "saved"
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).save_to_disk(saved)
    assert error_of(f"hfds/{saved}") == (
        f"hfds/{saved} has images without a class number; expected one, from 0 on, for each image"
    )


def test_rows_without_a_label_column(hub_folder):
    import datasets

    saved = hub_folder / "saved"
    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).save_to_disk(saved)
    assert error_of(f"hfds/{saved}") == (
        f"hfds/{saved} has the columns text, label; expected a column image and a column label"
    )


def test_a_hugging_face_folder_that_is_not_there(hub_folder):
    message = error_of(f"hfds/{hub_folder}/nothing")
    assert message.startswith(f"hfds/{hub_folder}/nothing cannot be opened (")
    assert message.endswith(
        "); expected a data set of the Hugging Face hub or a local folder that `datasets.load_dataset` opens"
    )


@pytest.fixture
def shards(tree):
    """Two WebDataset shards: labels 254, 1 and 254, 1; the last image cannot be decoded."""
    root = tree(*(f"{i}.png" for i in range(4)))
    (root / "3.png").write_bytes(b"no image")
    folder = root / "shards"
    folder.mkdir()
    for shard in (0, 1):
        with tarfile.open(folder / f"val-{shard:03d}.tar", "w") as tar:
            for i in (2 * shard, 2 * shard + 1):
                (root / f"{i}.cls").write_text(str((254, 1)[i % 2]))
                (root / f"{i}.json").write_text(json.dumps({"name": i}))
                for ending in ("cls", "json", "png"):
                    tar.add(root / f"{i}.{ending}", f"{i}.{ending}")
    return folder


@pytest.mark.parametrize("pattern", ["/val-{000..001}.tar", "/val-{000,001}.tar", "/val-00{0..1}.tar"])
@pytest.mark.parametrize("workers", [0, 2])
def test_webdataset_shards(shards, pattern, workers):
    images = open_images(f"wds/{shards}{pattern}", imagenet())
    assert images.layout == "WebDataset's records labelled by index (2 classes, 4 images)"
    assert not images.streamed
    found, skipped = values(images, "pug", "goldfish", workers=workers)
    assert found == {"val-000.tar/0.png": 0, "val-000.tar/1.png": 1, "val-001.tar/2.png": 2}
    assert skipped == [("val-001.tar/3.png", "not an image that Pillow can read")]


@pytest.mark.parametrize("prefix", ["wds/", ""])
def test_a_folder_of_shards(shards, prefix):
    images = open_images(f"{prefix}{shards}", imagenet())
    assert values(images, "pug", reference_per_class=0)[0] == {"val-000/0.png": 0, "val-001/2.png": 2}


def test_labels_in_json_and_several_fields_of_a_record(tree):
    root = tree("a.png", "b.png")
    (root / "a.json").write_text('{"label": 1}')
    with tarfile.open(root / "x.tar", "w") as tar:
        tar.add(root / "b.png", "k/0.mask.png")
        tar.add(root / "a.png", "k/0.png")
        tar.add(root / "a.json", "k/0.json")
    images = open_images(f"wds/{root}/x.tar", imagenet())
    assert values(images, "goldfish") == ({"x.tar/k/0.png": 0}, [])


# timm leaves the shards open; they are closed before the next test.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_shards_agree_with_timms_reader(shards):
    from timm.data import create_dataset

    (shards / "_info.json").write_text("{}")
    dataset = create_dataset("wds/x", root=str(shards), split="val-{000..001}.tar")
    theirs = [(image.getpixel((0, 0))[0], target) for image, target in dataset]
    del dataset
    gc.collect()
    images = open_images(f"wds/{shards}", imagenet())
    found, _ = values(images, "pug", "goldfish")
    classes = {s.path: s.image_class.index for s in images.samples}
    assert sorted((value, classes[path]) for path, value in found.items()) == sorted(theirs)


def test_shards_that_are_not_there(tmp_path):
    assert f"{tmp_path} holds no images" in error_of(f"wds/{tmp_path}")
    assert f"{tmp_path}/x-0.tar does not exist" in error_of(f"wds/{tmp_path}/x-{{0..1}}.tar")


@pytest.mark.parametrize(
    "place",
    ["x-{0..99999999}.tar", "x-{HOME}.tar", "${HOME}/x.tar", "x-{0..1.tar", "x-{0..1}}.tar", "{{a,b}}.tar", "{}.tar"],
)
def test_braces_and_variables_that_are_no_pattern_are_one_line(tmp_path, place):
    message = error_of(f"wds/{tmp_path}/{place}")
    assert "expected" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "place", ["pipe:touch {0}", "PIPE:touch {0}", "pipe://touch {0}.tar", "{1}/val-000.tar::pipe:touch {0}"]
)
@pytest.mark.parametrize("ending", ["", ".tar"])
def test_no_pattern_runs_a_command(shards, tmp_path, place, ending):
    error_of("wds/" + place.format(tmp_path / "ran", shards) + ending)
    assert not list(tmp_path.glob("ran*"))


def test_a_record_without_a_class(shards):
    with tarfile.open(shards / "val-002.tar", "w") as tar:
        tar.add(shards.parent / "0.png", "9.png")
    message = error_of(f"wds/{shards}")
    assert "val-002/9.png has no class index" in message
    assert "expected a .cls file or a label in a .json file" in message


def test_the_missing_package_and_the_remedy_are_named(monkeypatch):
    monkeypatch.setattr(timm_datasets, "find_spec", lambda name: None)
    message = error_of("hfds/mnist")
    assert "hfds/mnist needs the package datasets" in message
    assert 'pip install "se-probe[data]"' in message
