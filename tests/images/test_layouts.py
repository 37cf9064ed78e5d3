import re

import pytest

from se_probe.errors import SeProbeError
from se_probe.images import open_images
from se_probe.labels import imagenet, label_space_from_names

EXPECTED = (
    "expected one folder per class (named by wnid, class name or output index), flat files <wnid>_*.JPEG, or flat "
    "files with a label file"
)
LABEL_FILE = 'expected a text file beside or in it with a line "name label" for each image'


def indices(images):
    return {sample.path: sample.image_class.index for sample in images.samples}


def error_of(data, labels=None):
    with pytest.raises(SeProbeError) as caught:
        open_images(data, labels)
    return str(caught.value)


def test_folders_named_by_wnid(tree):
    root = tree("n02110958/b.JPEG", "n02110958/a.jpg", "n01443537/c.png")
    images = open_images(root, imagenet())
    assert indices(images) == {"n01443537/c.png": 1, "n02110958/a.jpg": 254, "n02110958/b.JPEG": 254}
    assert list(indices(images)) == ["n01443537/c.png", "n02110958/a.jpg", "n02110958/b.JPEG"]
    assert images.layout == "folders named by wnid (2 classes, 3 images)"
    assert {c.name: n for c, n in images.counts.items()} == {"goldfish": 1, "pug": 2}


def test_real_folders_named_by_wnid(tiny_imagenet):
    images = open_images(tiny_imagenet, imagenet())
    assert images.layout == "folders named by wnid (50 classes, 2500 images)"
    assert set(images.counts.values()) == {50}
    assert images.ignored == 0
    assert {sample.path.split("/")[0] for sample in images.samples} == {c.wnid for c in images.classes}


def test_wnid_folders_that_the_network_does_not_know(tree):
    root = tree("n00004475/a.png", "n01443537/b.png")
    images = open_images(root, imagenet())
    assert indices(images) == {"n01443537/b.png": 1, "n00004475/a.png": None}
    assert [c.name for c in images.classes] == ["goldfish", "organism"]
    assert images.layout == (
        "folders named by wnid (2 classes, 2 images, 1 of the classes without a known output unit)"
    )
    assert images.labels.resolve("organism").image_class == images.classes[1]
    assert images.labels.resolve("pug").image_class.index == 254


def test_a_foreign_wnid_with_a_known_name_gets_its_wnid_and_leaves_the_networks_name(tree):
    network = label_space_from_names(["n02012849"], "one crane")
    images = open_images(tree("n02012849/a.png", "n03126707/b.png"), network)
    assert [c.name for c in images.classes] == ["crane", "crane (n03126707)"]


def test_folders_named_by_class_name(tree):
    images = open_images(tree("Egyptian_cat/a.png", "goldfish/b.png", "unicorn/c.png"), imagenet())
    assert indices(images) == {"goldfish/b.png": 1, "Egyptian_cat/a.png": 285, "unicorn/c.png": None}
    assert images.layout == (
        "folders named by class name (3 classes, 3 images, 1 of the classes without a known output unit)"
    )


def test_class_names_without_a_network(tree):
    images = open_images(tree("zebra/a.png", "ant/b.png"), None)
    assert indices(images) == {"ant/b.png": None, "zebra/a.png": None}


def test_indices_are_numbers_not_text(tree):
    images = open_images(tree(*(f"{i}/a.png" for i in (10, 2, 0, 1))), imagenet())
    assert list(indices(images).items()) == [("0/a.png", 0), ("1/a.png", 1), ("2/a.png", 2), ("10/a.png", 10)]
    assert images.layout == "folders named by index (4 classes, 4 images)"


def test_indices_without_a_network(tree):
    images = open_images(tree("10/a.png", "2/a.png"), None)
    assert indices(images) == {"2/a.png": 2, "10/a.png": 10}
    assert images.labels.resolve("10").image_class.index == 10


def test_numbers_as_class_names_of_the_network(tree):
    images = open_images(tree("7/a.png", "3/a.png"), label_space_from_names(["3", "7"], "digits"))
    assert indices(images) == {"3/a.png": 0, "7/a.png": 1}
    assert images.layout == "folders named by class name (2 classes, 2 images)"


def test_flat_files_named_by_wnid(tree):
    images = open_images(tree("n02110958_pug.JPEG", "n01443537_2_x.JPEG"), imagenet())
    assert indices(images) == {"n01443537_2_x.JPEG": 1, "n02110958_pug.JPEG": 254}
    assert images.layout == "flat files named <wnid>_* (2 classes, 2 images)"


def test_real_flat_files_named_by_wnid(imagenet_sample):
    images = open_images(imagenet_sample, imagenet())
    assert images.layout == "flat files named <wnid>_* (120 classes, 120 images)"
    by_name = {sample.path: sample.image_class.index for sample in images.samples}
    assert by_name["n01443537_goldfish.JPEG"] == 1
    cranes = {i for path, i in by_name.items() if path.startswith(("n02012849", "n03126707"))}
    assert cranes == {134, 517}


@pytest.mark.parametrize("place", ["data/labels.txt", "labels.txt"])
@pytest.mark.parametrize("form", ["{0} {1}", "{0},{1}", "val/{0}\t{1}"])
def test_flat_ilsvrc_with_a_label_file_in_or_beside_it(tree, place, form):
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in (1, 2, 3)]
    root = tree(*(f"data/{name}" for name in names))
    (root / place).write_text("\n".join(form.format(*pair) for pair in zip(names, (65, 970, 1), strict=True)))
    images = open_images(root / "data", imagenet())
    assert indices(images) == {names[2]: 1, names[0]: 65, names[1]: 970}
    file = "labels.txt" if place.startswith("data") else "../labels.txt"
    assert images.layout == f"flat ILSVRC files labelled by index in {file} (3 classes, 3 images)"


def test_a_label_file_with_wnids_and_bare_names(tree):
    root = tree("data/x1.png", "data/x2.png")
    (root / "data/val.txt").write_text("x1 n01443537\nx2 n02110958\n\n")
    (root / "data/notes.txt").write_text("these are my photographs")
    images = open_images(root / "data", imagenet())
    assert indices(images) == {"x1.png": 1, "x2.png": 254}
    assert images.layout == "flat files labelled by wnid in val.txt (2 classes, 2 images)"
    assert images.ignored == 2


def test_other_text_files_do_not_matter(tree):
    root = tree("data/x1.png")
    (root / "data/labels.txt").write_text("x1.png 1")
    (root / "latin.txt").write_bytes("Größe".encode("latin-1"))
    (root / "data/other.csv").write_text("y.png,4")
    assert indices(open_images(root / "data", imagenet())) == {"x1.png": 1}


def test_flat_files_without_labels(tree):
    root = tree("data/ILSVRC2012_val_00000001.JPEG", "data/ILSVRC2012_val_00000002.JPEG") / "data"
    message = error_of(root)
    assert message.startswith(f"{root}: 2 images such as ILSVRC2012_val_00000001.JPEG")
    assert LABEL_FILE in message
    assert "a folder for each class" in message


def test_the_devkits_ids_are_refused_with_the_reason(tree):
    root = tree("data/ILSVRC2012_val_00000001.JPEG") / "data"
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n361\n")
    message = error_of(root, imagenet())
    assert f"{root}: ILSVRC2012_validation_ground_truth.txt lists class ids" in message
    assert "another order than the network's output" in message
    assert LABEL_FILE in message


def test_a_label_file_that_leaves_an_image_out(tree):
    root = tree("data/a.png", "data/b.png") / "data"
    (root / "labels.txt").write_text("a.png 1")
    assert error_of(root) == "labels.txt labels 1 of 2 images and not b.png; expected a line for each image"


CSV = "ImageId,Class\na.png,1\nb, two.png,254\n"


@pytest.mark.parametrize(
    "content",
    [
        CSV.replace("b, two", "b").encode(),
        b"\xef\xbb\xbf" + CSV.encode(),
        CSV.replace("\n", "\r\n").encode(),
        b'"ImageId","Class"\r\n"a.png","1"\r\n"b, two.png","254"\r\n',
        b"ImageId\tClass\na\t1\nb, two\t254\n",
        b"a.png;1\nb, two.png;254\n".replace(b", two", b""),
        b"filename,label\na.png,goldfish\nb.png,pug\n",
        b'a.png,"goldfish"\nb.png,"pug"\n',
        b"name wnid\na.png n01443537\nb.png n02110958\n",
    ],
)
def test_label_files_as_spreadsheets_write_them(tree, content):
    second = "b, two.png" if b"two" in content else "b.png"
    root = tree("data/a.png", f"data/{second}") / "data"
    (root / "labels.csv").write_bytes(content)
    assert indices(open_images(root, imagenet())) == {"a.png": 1, second: 254}


@pytest.mark.parametrize(
    "content", ["a.png,b\nb.png,c\n", "a.png,1\nb.png,\n", "id,w\nx,y\na.png,1\nb.png,2", "a.png red\nb.png blue"]
)
def test_a_label_file_that_is_not_clear_is_shown(tree, content):
    root = tree("data/a.png", "data/b.png") / "data"
    (root / "labels.csv").write_text(content)
    message = error_of(root, imagenet())
    assert "labels.csv names images" in message
    assert " | ".join(content.splitlines()[:3]) in message
    assert LABEL_FILE in message


@pytest.mark.parametrize("lines", ["a.png 1\na.png 2", "a.png 1\na 2", "a,1\na.png,2", "x/a.png 1\ny/a.png 2"])
def test_two_lines_that_give_an_image_two_classes(tree, lines):
    root = tree("data/a.png") / "data"
    (root / "labels.txt").write_text(lines)
    assert re.match("labels.txt gives a.png two classes, (1 and 2|2 and 1); expected one", error_of(root, imagenet()))


def test_two_images_of_one_name_and_two_extensions(tree):
    root = tree("data/a.png", "data/a.jpg") / "data"
    (root / "labels.txt").write_text("a.png 1\na.jpg 2")
    assert indices(open_images(root, imagenet())) == {"a.png": 1, "a.jpg": 2}


def test_label_files_that_disagree(tree):
    root = tree("data/a.png") / "data"
    (root / "one.txt").write_text("a.png 1")
    (root / "two.txt").write_text("a.png 2")
    assert error_of(root) == (
        f"{root}: the label files one.txt and two.txt disagree; expected one: remove the wrong one"
    )


def test_labels_counted_from_one_do_not_fit(tree):
    root = tree("data/a.png", "data/b.png") / "data"
    (root / "labels.txt").write_text("a.png 1\nb.png 1000")
    assert error_of(root, imagenet()) == (
        f"{root}: the label 1000 is not an output unit of the network (ImageNet-1k, 0 to 999); "
        "expected indices in that range or wnids"
    )


@pytest.fixture
def tiny_tree(tree):
    root = tree(
        "val/images/val_0.JPEG", "val/images/val_1.JPEG", "train/n01443537/images/x.JPEG", "test/images/test_0.JPEG"
    )
    (root / "val/val_annotations.txt").write_text(
        "val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_1.JPEG\tn01443537\t52\t55\t57\t59\n"
    )
    return root


@pytest.mark.parametrize(
    ("part", "prefix", "file", "ignored"),
    [
        ("", "val/images/", "val/val_annotations.txt", 3),
        ("val", "images/", "val_annotations.txt", 1),
        ("val/images", "", "../val_annotations.txt", 0),
    ],
)
def test_tiny_imagenets_validation_images(tiny_tree, part, prefix, file, ignored):
    images = open_images(tiny_tree / part, imagenet())
    assert indices(images) == {f"{prefix}val_1.JPEG": 1, f"{prefix}val_0.JPEG": 573}
    assert images.layout == f"Tiny-ImageNet's validation images, labelled by {file} (2 classes, 2 images)"
    assert images.ignored == ignored


def test_tiny_imagenets_training_images(tiny_tree):
    images = open_images(tiny_tree / "train", imagenet())
    assert indices(images) == {"n01443537/images/x.JPEG": 1}


def test_tiny_imagenet_sorted_into_folders_keeps_its_text_file(tree):
    root = tree("n01443537/val_1.JPEG", "n02110958/val_0.JPEG")
    (root / "val_annotations.txt").write_text("val_0.JPEG\tn03444034\t0\t32\t44\t62\n")
    assert indices(open_images(root, imagenet())) == {"n01443537/val_1.JPEG": 1, "n02110958/val_0.JPEG": 254}


def test_tiny_imagenet_with_a_missing_line(tiny_tree):
    (tiny_tree / "val/val_annotations.txt").write_text("val_0.JPEG\tn03444034\t0\t32\t44\t62\n")
    assert error_of(tiny_tree) == (
        f"{tiny_tree}: val/val_annotations.txt has no label for val/images/val_1.JPEG; expected a label for each image"
    )


@pytest.mark.parametrize("folder", ["", "ILSVRC/Data/CLS-LOC/val/"])
def test_kaggles_solution_file(tree, folder):
    names = ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"]
    train = ["ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_1.JPEG"] if folder else []
    root = tree(*(folder + name for name in names), *train)
    (root / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n02110958 85 1 499 272 n02110958 1 2 3 4\n"
        "ILSVRC2012_val_00000002,n01443537 1 2 3 4\nILSVRC2012_val_00000003,n01443537 1 2 3 4\n"
    )
    images = open_images(root, imagenet())
    assert indices(images) == {folder + names[1]: 1, folder + names[0]: 254}
    below = f" below {folder.rstrip('/')}/" if folder else ""
    assert images.layout == f"flat files{below} labelled by Kaggle's LOC_val_solution.csv (2 classes, 2 images)"
    assert images.ignored == 1 + len(train)


def test_kaggles_solution_file_with_two_classes_for_an_image(tree):
    root = tree("a.JPEG")
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\na,n02110958 1 2 3 4 n01443537 1 2 3 4\n")
    assert error_of(root) == "LOC_val_solution.csv gives a 2 classes; expected exactly one wnid"


def test_annotations_that_give_an_image_two_classes(tiny_tree):
    text = "val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_1.JPEG\tn01443537\nval_0.JPEG\tn01443537\n"
    (tiny_tree / "val/val_annotations.txt").write_text(text)
    assert "gives val_0.JPEG two classes, n03444034 and n01443537" in error_of(tiny_tree)


def test_kaggles_file_that_gives_an_image_two_classes(tree):
    root = tree("a.JPEG")
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\na,n02110958 1\na,n01443537 1\n")
    assert "gives a two classes, n02110958 and n01443537" in error_of(root)


@pytest.mark.parametrize("text", ["ImageId,PredictionString\na," + "n02110958 1 " * 20_000, "", "x" * 200_000])
def test_kaggles_file_that_cannot_be_read(tree, text):
    root = tree("a.JPEG")
    (root / "LOC_val_solution.csv").write_text(text)
    message = error_of(root)
    assert message.startswith("LOC_val_solution.csv ")
    assert len(message) < 300


@pytest.mark.parametrize("prefix", ["val/", "ILSVRC/Data/val/"])
def test_class_folders_further_down(tree, prefix):
    root = tree(f"{prefix}n01443537/a.png", f"{prefix}n02110958/a.png")
    images = open_images(root, imagenet())
    assert indices(images) == {f"{prefix}n01443537/a.png": 1, f"{prefix}n02110958/a.png": 254}
    assert images.layout == f"folders below {prefix} named by wnid (2 classes, 2 images)"


def test_a_single_class_folder(tree):
    assert indices(open_images(tree("val/n01443537/a.png"), imagenet())) == {"val/n01443537/a.png": 1}
    assert indices(open_images(tree("val/n01443537/a.png"), None)) == {"val/n01443537/a.png": None}


def test_hidden_and_other_files_are_ignored_and_counted(tree):
    root = tree("n01443537/a.PNG", "n01443537/._a.PNG", ".cache/n01443537/b.png", "__MACOSX/n01443537/c.png")
    (root / "n01443537/readme.md").write_text("about")
    images = open_images(root, imagenet())
    assert indices(images) == {"n01443537/a.PNG": 1}
    assert images.ignored == 4


def test_links_are_followed_and_circles_are_not(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    root = tree("n01443537/a.png")
    (elsewhere / "b.png").write_bytes((root / "n01443537/a.png").read_bytes())
    (root / "n02110958").symlink_to(elsewhere)
    (root / "n01443537/circle").symlink_to(root)
    (root / "n01443537/gone.png").symlink_to(root / "nowhere.png")
    assert indices(open_images(root, imagenet())) == {
        "n01443537/a.png": 1, "n01443537/gone.png": 1, "n02110958/b.png": 254
    }  # fmt: skip


def test_images_in_and_beside_folders(tree):
    root = tree("a.png", "n01443537/b.png")
    assert error_of(root) == (
        f"{root}: 1 images are in the folder itself (a.png) and others in folders within it (n01443537/); {EXPECTED}"
    )


def test_two_splits(tree):
    root = tree("train/n01443537/a.png", "val/n01443537/b.png")
    assert error_of(root) == (
        f"{root}: images are in folders at several places (train/*, val/*); {EXPECTED}: "
        "give the folder that holds the class folders"
    )


def test_a_split_is_no_class(tree):
    root = tree("train/a.png", "val/b.png")
    assert error_of(root) == (f"{root}: the folder train/ holds images directly, and its name is no class; {EXPECTED}")


def test_folders_of_several_kinds(tree):
    root = tree("n01443537/a.png", "pug/b.png", "7/c.png")
    assert error_of(root, imagenet()) == (
        f"{root}: the labels are of several kinds: class name (pug), index (7), wnid (n01443537); "
        "expected all wnids, all indices or all class names"
    )


def test_a_numbered_folder_outside_the_network(tree):
    root = tree("1/a.png", "1000/b.png")
    assert error_of(root, imagenet()) == (
        f"{root}: the label 1000 is not an output unit of the network (ImageNet-1k, 0 to 999); "
        "expected indices in that range or wnids"
    )


@pytest.mark.parametrize("first", ["1", "01"])
def test_one_class_in_two_folders(tree, first):
    root = tree("001/a.png", f"{first}/b.png")
    assert error_of(root, imagenet()) == (
        f'{root}: "001" and "{first}" both mean goldfish (1, n01443537); expected each class once'
    )


@pytest.mark.parametrize(
    ("name", "meanings"),
    [
        ("crane", "crane (134, n02012849); crane (517, n03126707)"),
        ("plane", "airliner (404, n02690373); plane (726, n03954731)"),
        ("missile", "missile (657, n03773504); projectile (744, n04008634)"),
    ],
)
def test_an_ambiguous_class_name(tree, name, meanings):
    root = tree(f"{name}/a.png", "goldfish/b.png")
    assert error_of(root, imagenet()) == (
        f'{root}: the class name "{name}" is ambiguous: {meanings}; expected the wnid of the one that is meant'
    )


def test_flat_files_of_two_kinds(tree):
    root = tree("n01443537_1.png", "holiday.png")
    assert error_of(root) == f"{root}: 1 files are named <wnid>_* and 1 are not (holiday.png); {EXPECTED}"


def test_no_images(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    assert error_of(tmp_path) == f"{tmp_path} holds no images (1 files); {EXPECTED}"


def test_no_folder(tmp_path):
    path = tmp_path / "nothing"
    assert error_of(path) == (
        f"{path} does not exist; expected a folder of images, a .tar file, or a name such as hfds/NAME"
    )


def test_layouts_are_repeatable(tiny_imagenet):
    first, second = (open_images(tiny_imagenet, imagenet()) for _ in range(2))
    assert first == second
    assert re.fullmatch(r"n\d{8}/val_\d+\.JPEG", first.samples[0].path)


def test_images_alone_are_one_class_where_that_is_allowed(tree):
    root = tree("b.png", "a.png", "notes.txt")
    images = open_images(root, None, unlabelled=True)
    assert indices(images) == {"a.png": None, "b.png": None}
    assert [item.name for item in images.classes] == ["images"]
    assert "flat files without labels, as one" in images.layout
    assert "nothing says their classes" in error_of(root)


def test_images_with_labels_keep_them_where_they_need_none(tree):
    images = open_images(tree("cat/a.png", "dog/b.png"), None, unlabelled=True)
    assert [item.name for item in images.classes] == ["cat", "dog"]
