import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from se_probe.errors import SeProbeError
from se_probe.recording import open_recording
from se_probe.report import write_report
from tests.report import runs


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.words, self._inside = [], [], None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def page(plain_page):
    return Page(plain_page)


def test_nothing_is_loaded_from_outside(page):
    sources = [attributes[key] for _, attributes in page.tags for key in ("src", "srcset", "data") if key in attributes]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("img-src") == "data:"
    assert len(re.findall(r"'sha256-[\w+/]+=*'", rules.pop("script-src"))) == 7
    assert len(re.findall(r"'sha256-[\w+/]+=*'", rules.pop("style-src"))) == 1
    assert rules == {"base-uri": "'none'", "form-action": "'none'"}


def test_nothing_in_the_markup_asks_for_an_inline_style_or_handler(page):
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}


def test_links_lead_to_files_of_the_run_or_places_on_the_page(page, plain_run):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    files = [link for link in links if not link.startswith("#")]
    assert "tables/class_statistics.csv.gz" in files
    assert "figures/role_of_excitation.pdf" in files
    assert all((plain_run / unquote(file)).exists() for file in files)
    places = [link[1:] for link in links if link.startswith("#") and "=" not in link]
    assert set(places) <= ids


def test_says_what_was_run_and_how_to_repeat_it(page, plain_run):
    provenance = open_recording(plain_run).provenance
    for words in (
        provenance["command"],
        provenance["data"]["rule"],
        provenance["model"]["weights_sha256"],
        f"torch=={provenance['versions']['torch']}",
        "2 SE, SK sites with 24 gates, seen on 24 images of goldfish, cliff and tabby and, for reference, on 24 images "
        "of 3 classes in all.",
        "supported Live sites 2 of 2 Evidence: SK_3_1 Claim, measure and bar Gates are alive. They move at SITE. "
        "standard deviation over images: 0.250, 95 % interval 0.200 to 0.300; bar: 0.02.",
    ):
        assert words in page.text


def marked(page, name):
    return [tag for tag, attributes in page.tags if name in (attributes.get("class") or "").split()]


def test_no_demo_and_no_warning_where_there_is_none(page):
    assert not marked(page, "demo")
    assert len(marked(page, "notice")) == 1  # for browsers without JavaScript


def test_the_same_run_gives_the_same_page(plain_run, plain_page, tmp_path):
    copy = shutil.copytree(plain_run, tmp_path / "copy")
    again = write_report(copy, findings=[runs.FINDING], data=plain_run.parent / "data")
    assert again == copy / "report.html"
    assert again.read_bytes() == plain_page.read_bytes()


def test_measures_are_read_from_the_tables_of_the_run(plain_run, tmp_path):
    from se_probe.report.facts import run_measures

    recording = open_recording(plain_run)
    computed = run_measures(recording, tmp_path)["site_health.csv"]
    computed.assign(mean_gate=0.125).to_csv(tmp_path / "site_health.csv", index=False)
    assert run_measures(recording, tmp_path)["site_health.csv"]["mean_gate"].tolist() == [0.125, 0.125]


def test_tables_of_an_older_version_are_computed_again(plain_run, tmp_path):
    from se_probe.report.facts import run_measures

    recording = open_recording(plain_run)
    computed = run_measures(recording, tmp_path)["site_health.csv"]
    older = computed.rename(columns={"between_class_sd": "class_sd", "mean_gate": "level"})
    older.to_csv(tmp_path / "site_health.csv", index=False)
    pd.testing.assert_frame_equal(run_measures(recording, tmp_path)["site_health.csv"], computed)


def test_a_stopped_run_says_so(tmp_path):
    class StoppingTransform:
        calls = 0

        def __call__(self, image):
            self.calls += 1
            if self.calls > 18:
                raise KeyboardInterrupt
            return runs.to_tensor(image)

    model = runs.network()
    object.__setattr__(model, "transform", StoppingTransform())
    with pytest.raises(KeyboardInterrupt):
        runs.run(tmp_path, model=model, batch_size=3)
    text = Page(write_report(tmp_path / "run")).text
    recorded = len(open_recording(tmp_path / "run").images)
    assert 0 < recorded < 24
    assert (
        f"Incomplete. The run was stopped before its end. Everything below is based on the {recorded} of 24 images"
        in text
    )


def test_skipped_images_are_named(tmp_path):
    data = runs.photographs(tmp_path / "data")
    (data / "2" / "broken.png").write_bytes(b"no image")
    text = Page(write_report(runs.run(tmp_path, data=data))).text
    assert "1 of them could not be used and were left out" in text
    assert "2/broken.png (tabby): not an image that Pillow can read" in text
    assert "Warning. 1 images were skipped, 2/broken.png" in text


def test_a_demo_run_says_demo_at_the_top_at_each_figure_and_at_the_explorer(demo_run):
    page = Page(write_report(demo_run))
    assert len(marked(page, "demo")) == 1 + 2 + 1
    assert "Demo. The network or the images are the bundled demo's: drawn stimuli" in page.text


def test_no_recording(tmp_path):
    with pytest.raises(SeProbeError) as error:
        write_report(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} holds no recording; expected the folder of a run of se-probe excite, or the recording.zarr in it."
    )
