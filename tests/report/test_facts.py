from se_probe.report.facts import flat_facts, requirements


def test_every_fact_has_its_path():
    facts = {"model": {"name": "net", "sizes": [3, 32], "none": None, "maps": {}}, "demo": False, "empty": []}
    assert flat_facts(facts) == [
        ("model.name", "net"),
        ("model.sizes", "3, 32"),
        ("model.none", "none"),
        ("model.maps", "none"),
        ("demo", "no"),
        ("empty", "none"),
    ]


def test_requirements_are_what_pip_takes():
    assert requirements({"versions": {"python": "3.11.7", "torch": "2.4.0", "timm": "1.0.12"}}) == (
        "torch==2.4.0 timm==1.0.12"
    )
