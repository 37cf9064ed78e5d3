"""Commands that look something up say what is there, to people and to scripts."""

import json


def test_gates_as_a_table_and_as_json(se_probe):
    done = se_probe("gates", "skresnet18", "--json")
    sites = json.loads(done.stdout)
    assert done.returncode == 0
    assert [site["name"] for site in sites] == [f"SK_{s}_{b}" for s in (2, 3, 4, 5) for b in (1, 2)]
    assert sites[0] == {
        "name": "SK_2_1", "module": "layer1.0.conv1", "family": "SK", "stage": 2, "block": 1, "stride": 4,
        "channels": 64, "branches": 2, "activation": "softmax over branches", "reduction": 4.0, "kernels": [3, 5]
    }  # fmt: skip
    table = se_probe("gates", "skresnet18").stdout
    assert "SK_5_2  layer4.1.conv1  SK" in table
    assert "8 SK sites, SK_2_1 to SK_5_2" in table


def test_a_network_without_gates(se_probe):
    done = se_probe("gates", "resnet18")
    assert done.returncode == 2
    assert done.stderr.startswith("error: resnet18 has no gates: no feature map is multiplied")


def test_models_lists_without_a_network(se_probe):
    done = se_probe("models", "skres", "--json")
    listed = {(item["name"], item["family"], item["gates"]) for item in json.loads(done.stdout)}
    assert listed == {("skresnet18", "SK", 8), ("skresnet34", "SK", 16), ("skresnext50_32x4d", "SK", 16)}
    nothing = se_probe("models", "nosuchnetwork")
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: no pretrained network with gates matches 'nosuchnetwork'")


def test_classes(se_probe):
    done = se_probe("classes", "1, n02110958, Plane ,cliff", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == [
        {"index": 1, "wnid": "n01443537", "name": "goldfish"},
        {"index": 254, "wnid": "n02110958", "name": "pug"},
        {"index": 404, "wnid": "n02690373", "name": "airliner"},
        {"index": 972, "wnid": "n09246464", "name": "cliff"},
    ]
    assert "carpenter's plane" in done.stderr
    tool = se_probe("classes", "carpenter's plane", "--json")
    assert json.loads(tool.stdout)[0]["index"] == 726


def test_an_ambiguous_name_lists_its_candidates(se_probe):
    done = se_probe("classes", "crane")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith('error: "crane" is ambiguous in ImageNet-1k: crane (134, n02012849)')
    assert "crane (517, n03126707)" in done.stderr
    assert len(done.stderr.splitlines()) == 1
