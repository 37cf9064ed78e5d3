"""What names of classes mean."""

import json


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
