"""What the command line says of networks: their gates, and which have some."""

import json


def test_gates_as_a_table_and_as_json(se_probe):
    done = se_probe("gates", "skresnet18", "--json")
    sites = json.loads(done.stdout)
    assert done.returncode == 0
    assert [site["name"] for site in sites] == [f"SK_{s}_{b}" for s in (2, 3, 4, 5) for b in (1, 2)]
    assert sites[0] == {
        "name": "SK_2_1",
        "module": "layer1.0.conv1",
        "family": "SK",
        "stage": 2,
        "block": 1,
        "stride": 4,
        "channels": 64,
        "branches": 2,
        "activation": "softmax over branches",
        "reduction": 4.0,
        "kernels": [3, 5],
    }
    table = se_probe("gates", "skresnet18").stdout
    assert "SK_5_2  layer4.1.conv1  SK" in table
    assert "8 SK sites, SK_2_1 to SK_5_2" in table


def test_a_network_without_gates(se_probe):
    done = se_probe("gates", "resnet18")
    assert done.returncode == 2
    assert done.stderr.startswith("error: resnet18 has no gates: no feature map is multiplied")


def test_models_lists_without_a_network(se_probe):
    done = se_probe("models", "skres", "--json")
    assert {(item["name"], item["family"], item["gates"]) for item in json.loads(done.stdout)} == {
        ("skresnet18", "SK", 8),
        ("skresnet34", "SK", 16),
        ("skresnext50_32x4d", "SK", 16),
    }
    nothing = se_probe("models", "nosuchnetwork")
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: no pretrained network with gates matches 'nosuchnetwork'")
