"""The page in a real browser that has no network: nothing is requested, nothing fails, and the explorer answers."""

import pytest

from se_probe.recording import open_recording
from tests.report import runs

ARROW_RIGHT, END, ENTER = "\ue014", "\ue010", "\ue007"


@pytest.fixture
def page(browser, plain_page):
    browser.open(plain_page)
    yield browser
    assert browser.errors() == []
    assert browser.requests() == []


def channel_values(page, place):
    return [float(text) for text in page.texts(f"#channel-table tbody tr td:nth-child({place})")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_fits_its_window(browser, plain_page, width, scheme):
    browser.open(plain_page, width=width, scheme=scheme)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelector('#plot canvas').getBoundingClientRect().right") <= width
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 200) == (scheme == "dark")
    assert browser.errors() == []
    assert browser.requests() == []


def test_colours_follow_the_scheme_when_it_changes(page):
    light = page.chart()
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.wait("return matchMedia('(prefers-color-scheme: dark)').matches")
    assert page.chart() != light


def test_choosing_a_site_changes_the_curves(page, plain_run):
    page.choose("#site", "SE_2_1")
    before = page.chart()
    page.choose("#site", "SK_3_1")
    assert page.chart() != before
    assert "of SK_3_1, branch 0" in page.texts("#channel-title")[0]
    page.choose("#branch", "1")
    page.run("let c = document.getElementById('channel'); c.value = 2; c.dispatchEvent(new Event('change'))")
    gates = open_recording(plain_run).gates("SK_3_1")
    expected = [float(gates[gates["class"] == name][:, 1, 2].mean()) for name in runs.PLAIN]
    assert channel_values(page, 2)[:3] == pytest.approx(expected, abs=0.0011)


def test_only_sites_with_branches_offer_them(page):
    page.choose("#site", "SE_2_1")
    assert not page.find("#branch").is_displayed()
    page.choose("#site", "SK_3_1")
    assert page.find("#branch").is_displayed()


def test_sorting_channels(page):
    page.choose("#site", "SE_2_1")
    by_index = page.chart()
    page.choose("#order", "between_class_sd")
    assert page.chart() != by_index
    scores = []
    for _ in range(12):
        words = page.texts("#channel-scores")[0]
        scores.append(float(words.partition("SD between classes ")[2].split(" ")[0]))
        page.press("#chart", ARROW_RIGHT)
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 6
    assert page.texts("#axis-words") == ["Ranks 1 to 12 of 12 by standard deviation between classes, highest first"]


def test_classes_can_be_left_out(page):
    page.choose("#site", "SE_2_1")
    everything = page.chart()
    page.find("#classes label:nth-child(2) input").click()
    without = page.chart()
    assert without != everything
    assert "cliff" not in page.find("#chart").get_attribute("aria-valuetext")
    page.find("#classes label:nth-child(2) input").click()
    assert page.chart() == everything


def test_no_class_at_all_is_no_error(page):
    for place in range(1, 5):
        page.find(f"#classes label:nth-child({place}) input").click()
    page.choose("#site", "SK_3_1")
    page.chart()


def test_bands_and_axis(page):
    page.choose("#site", "SE_2_1")
    drawn = {page.chart()}
    for band in ("sd", ""):
        page.choose("#band", band)
        drawn.add(page.chart())
    page.find("#fit").click()
    drawn.add(page.chart())
    assert len(drawn) == 4


def test_pointing_at_the_chart_reads_channel_classes_values_and_intervals(page):
    from selenium.webdriver import ActionChains

    page.choose("#site", "SE_2_1")
    page.run("document.getElementById('chart').scrollIntoView({block: 'center'})")
    ActionChains(page.driver).move_to_element(page.find("#plot canvas")).perform()
    page.wait("return !document.getElementById('tooltip').hidden")
    assert page.texts("#tooltip strong")[0] in ("Channel 5", "Channel 6")
    assert page.texts("#tooltip td:first-child") == [*runs.PLAIN, "all classes (3)"]
    for mean, interval in zip(
        page.texts("#tooltip td:nth-child(2)"), page.texts("#tooltip td:nth-child(3)"), strict=True
    ):
        low, high = interval.split(" to ")
        assert float(low) <= float(mean) <= float(high)
    ActionChains(page.driver).move_to_element(page.find("#site-facts")).perform()
    page.wait("return document.getElementById('tooltip').hidden")


def test_a_click_chooses_the_channel_and_shows_its_images(page, plain_run):
    from selenium.webdriver import ActionChains

    page.choose("#site", "SE_2_1")
    page.run("document.getElementById('chart').scrollIntoView({block: 'center'})")
    width = page.run("return document.querySelector('#plot canvas').getBoundingClientRect().width")
    # Far left, where the first channel lies, which by construction follows brightness.
    offset = round(-width / 2 + 65)
    ActionChains(page.driver).move_to_element_with_offset(page.find("#plot canvas"), offset, 0).click().perform()
    assert page.texts("#channel-title") == ["Channel 0 of SE_2_1"]
    most = page.run("return [...document.querySelectorAll('#most img')].map(image => image.alt)")
    least = page.run("return [...document.querySelectorAll('#least img')].map(image => image.alt)")
    assert most == [f"tabby, 2/{number}.png" for number in (7, 6, 5, 4, 3, 2)]
    assert least == [f"goldfish, 0/{number}.png" for number in range(6)]
    page.wait("return [...document.querySelectorAll('.pictures img')].every(image => image.naturalWidth === 32)")
    values = [float(text.partition(" ")[0]) for text in page.texts("#most li")]
    brightest = open_recording(plain_run).gates("SE_2_1").values[:, 0]
    assert values == pytest.approx(sorted(brightest)[: -len(values) - 1 : -1], abs=0.0006)


def test_the_keyboard_alone_is_enough(page):
    page.choose("#site", "SE_2_1")
    page.press("#chart", END)
    assert page.texts("#channel-title") == ["Channel 11 of SE_2_1"]
    assert page.find("#chart").get_attribute("aria-valuenow") == "12"
    page.press("#sites-table tbody a[href='#site=SK_3_1']", ENTER)
    page.wait("return document.getElementById('site').value === 'SK_3_1'")
    unreachable = "return [...document.querySelectorAll('a, button, select, input')].filter(e => e.tabIndex < 0).length"
    assert page.run(unreachable) == 0


def test_a_finding_leads_to_its_evidence(page):
    page.choose("#site", "SE_2_1")
    page.find(".finding a").click()
    page.wait("return document.getElementById('site').value === 'SK_3_1'")
    assert page.run("return document.activeElement.id") == "explorer"


def test_an_address_leads_to_a_channel(browser, plain_page):
    browser.open(plain_page, "#site=SE_2_1&channel=7")
    browser.wait("return document.getElementById('channel-title').textContent === 'Channel 7 of SE_2_1'")
    browser.press("#chart", ARROW_RIGHT)
    assert browser.driver.current_url.endswith("#site=SE_2_1&channel=8")
    assert browser.errors() == []


def test_the_address_holds_the_whole_state(browser, plain_page):
    browser.open(plain_page, "#site=SE_2_1&channel=3")
    browser.choose("#order", "difference")
    browser.choose("#more", "2")
    browser.choose("#draw", "dots")
    browser.choose("#band", "sd")
    browser.find("#classes label:nth-child(2) input").click()
    browser.wait("return document.getElementById('chart').dataset.drawn === 'SE_2_1/difference/dots/0,2,3'")
    told = ["channel-title", "axis-words", "channel-table"]
    shown = [browser.find(f"#{name}").text for name in told]
    address = browser.driver.current_url
    browser.open(plain_page, address.partition("html")[2])
    browser.wait("return document.getElementById('chart').dataset.drawn === 'SE_2_1/difference/dots/0,2,3'")
    assert [browser.find(f"#{name}").text for name in told] == shown
    assert [browser.find(f"#{name}").get_attribute("value") for name in ("band", "more", "draw")] == ["sd", "2", "dots"]
    assert browser.errors() == []


def test_channels_are_sorted_by_the_difference_of_two_classes(page, plain_run):
    page.choose("#site", "SE_2_1")
    page.choose("#order", "difference")
    page.choose("#more", "2")
    page.choose("#less", "0")
    mean = open_recording(plain_run).moments("SE_2_1")["mean"]
    difference = (mean.sel({"class": "tabby"}) - mean.sel({"class": "goldfish"})).values
    assert page.texts("#channel-title") == [f"Channel {difference.argmax()} of SE_2_1"]


def test_the_dictionary_says_what_is_known_of_a_channel(browser, dictionary_page):
    def facts():
        terms = browser.texts("#channel-entry dt")
        return dict(zip(terms, browser.texts("#channel-entry dd"), strict=True))

    browser.open(dictionary_page, "#site=SE_2_1&channel=3")
    assert facts()["Word"].startswith(
        f"{runs.HOSTILE[2]} AUC 0.950 against all other classes, 0.600 against its siblings"
    )
    assert facts()["Helps"] == "no class, with 5 % false discoveries"
    assert facts()["Explained by"] == "size 30 %"
    browser.open(dictionary_page, "#site=SE_2_1&channel=7")
    assert facts()["Word"] == "none survives: the best node has AUC 0.700, q 0.500"
    assert facts()["Helps"] == "tabby −0.500 (−0.625 to −0.375)"
    assert facts()["Hurts"] == "cliff +0.250 (+0.125 to +0.375)"
    browser.choose("#site", "SK_3_1")
    assert set(facts()) <= {"Moves with"}
    assert browser.errors() == []
    assert browser.requests() == []


def test_channels_are_found_by_word_class_and_effect_and_the_address_keeps_the_search(browser, dictionary_page):
    browser.open(dictionary_page, "#site=SK_3_1&channel=1")
    browser.press("#search", "BOLD")
    assert browser.texts("#found-table tbody th") == ["SE_2_1, channel 3"]
    assert browser.texts("#found-table tbody td") == [f"word {runs.HOSTILE[2]}", "AUC 0.950, q 0.010"]
    browser.find("#search").clear()
    browser.press("#search", "helps tab")
    assert browser.texts("#found-table tbody th") == ["SE_2_1, channel 7"]
    browser.press("#found-table a", ENTER)
    assert browser.texts("#channel-title") == ["Channel 7 of SE_2_1"]
    assert browser.run("return document.activeElement.id") == "channel-title"
    address = browser.driver.current_url
    assert "search=helps+tab" in address
    browser.open(dictionary_page, address.partition("html")[2])
    assert browser.texts("#found-table tbody th") == ["SE_2_1, channel 7"]
    browser.press("#search", "xx")
    assert browser.texts("#found-count") == ["No channel is found by this word or class."]
    assert not browser.find("#found").is_displayed()
    assert browser.errors() == []


def test_maps_are_drawn_below_the_images_of_which_there_are_any(browser, dictionary_page):
    browser.open(dictionary_page, "#site=SE_2_1&channel=0")
    assert browser.run("return document.querySelectorAll('#most canvas, #least canvas').length") == 3
    colours = browser.run(
        "return [...document.querySelectorAll('.map canvas')]"
        ".map(canvas => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data])"
    )
    highest, half, lowest = colours
    assert highest[0] > max(half[0], highest[2])  # red raises
    assert lowest[2] > lowest[0]  # blue lowers
    assert {colour[3] for colour in colours} == {255}  # cells of the grid: nothing was tested in pixels
    assert "by up to 1.000 a cell" in browser.texts("#map-note")[0]
    browser.open(dictionary_page, "#site=SE_2_1&channel=1")
    assert browser.run("return document.querySelectorAll('.map').length") == 0
    browser.find("#map-note a").click()
    assert browser.texts("#channel-title") == ["Channel 0 of SE_2_1"]
    assert browser.errors() == []


def test_an_image_is_enlarged_and_leads_to_the_channels_in_which_it_stands_out(page):
    page.choose("#site", "SE_2_1")
    page.find("#most button").click()
    assert page.run("return document.getElementById('image-panel').open")
    assert page.texts("#image-title")[0].endswith(".png")
    name = page.texts("#image-channels tbody th")[0]
    page.find("#image-channels a").click()
    page.wait("return !document.getElementById('image-panel').open")
    page.wait("return location.hash.startsWith('#site=')")
    site, _, channel = name.partition(", ")
    assert page.texts("#channel-title")[0].startswith(f"{channel.split(', ')[-1].capitalize()} of {site}")


def test_an_address_that_leads_nowhere_is_no_error(browser, plain_page):
    browser.open(plain_page, "#site=NONE&channel=7")
    assert browser.find("#site").get_attribute("value") in ("SE_2_1", "SK_3_1")
    assert browser.errors() == []


def test_sorting_the_table_of_sites(page):
    places = page.texts("#sites-table thead th")
    channels = places.index("Channels") + 1
    values = f"#sites-table tbody td:nth-child({channels})"
    assert page.texts(values) == ["12", "6"]
    heading = f"#sites-table thead th:nth-child({channels})"
    page.find(f"{heading} button").click()
    assert page.find(heading).get_attribute("aria-sort") == "descending"
    assert page.texts(values) == ["12", "6"]
    page.find(f"{heading} button").click()
    assert page.find(heading).get_attribute("aria-sort") == "ascending"
    assert page.texts(values) == ["6", "12"]
    page.find("#sites-table thead th:first-child button").click()
    assert page.texts("#sites-table tbody th") == ["SE_2_1", "SK_3_1"]


def test_hostile_names_stay_text(browser, hostile_page):
    browser.open(hostile_page)
    browser.choose("#site", "SE_2_1")
    browser.choose("#order", "between_class_sd")
    assert browser.run("return document.scripts.length") == 8
    assert browser.run("return document.querySelectorAll('img[src=x], [onerror], body b').length") == 0
    assert browser.texts("h1") == [runs.HOSTILE_MODEL]
    assert browser.texts("#classes label")[:3] == list(runs.HOSTILE)
    assert browser.texts("#channel-table tbody th")[:3] == list(runs.HOSTILE)
    assert browser.texts(".finding h3") == [runs.HOSTILE_FINDING.title]
    assert browser.texts(".finding .evidence a") == [runs.HOSTILE_FINDING.sites[0]]
    assert f"0/{runs.HOSTILE_FILE}" in browser.texts(".paths li")
    browser.find(".finding .evidence a").click()
    browser.find("#previous-site").click()
    assert browser.errors() == []
    assert browser.requests() == []
