"""What the exported file says: the report in its order, what is sure, hedged, denied, unread or thought, and whence."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from medinterp.types import (
    Explanation,
    FilmWarning,
    Report,
    ReportToken,
    Section,
    Sentence,
    Thinking,
    WindowChoice,
    Word,
)
from tests.api_samples import given_explanation, sample_explanation, sample_film
from tests.browser import Page, browser, chromium  # noqa: F401 - pytest finds fixtures by name
from tests.page_file import assert_drawn, chips, click_word, made, open_file, report_text
from tests.report_samples import all_kinds, all_kinds_explained

pytestmark = pytest.mark.filterwarnings("error")


def reported(report: Report) -> Explanation:
    """The sample with another report, and maps for its tokens."""
    return dataclasses.replace(all_kinds_explained(), report=report)


def words_of(text: str, **fields: Any) -> tuple[Word, ...]:
    """All of one token."""
    matches = enumerate(re.finditer(r"\w+", text))
    return tuple(Word(k, match[0], *match.span(), (0,), -1.0, 0.1, **fields) for k, match in matches)


def whole(text: str) -> tuple[ReportToken, ...]:
    return (ReportToken(0, 1, 0, len(text), -1.0),)


def marked(page: Page, kind: str) -> list[str]:
    """The texts of what the report holds of a class."""
    nodes = f"[...document.querySelectorAll('#medinterp-report .{kind}')]"
    found = page.run(f"return {nodes}.map((one) => one.textContent)")
    assert isinstance(found, list)
    return found


# Whence it comes, and what it is not


def test_the_banner_and_the_makers_notice_are_there(browser: Page, tmp_path: Path) -> None:
    sample = sample_explanation()
    noticed = dataclasses.replace(sample.provenance, notice="Of one mind < two.")
    open_file(browser, dataclasses.replace(sample, provenance=noticed), tmp_path / "report.html")
    assert browser.text("banner") == "Research use only, not for diagnosis. Of one mind < two."
    open_file(browser, sample, tmp_path / "report.html")
    assert browser.text("banner") == "Research use only, not for diagnosis."


def test_what_is_doubtful_about_the_films_stands_above_all_else(browser: Page, tmp_path: Path) -> None:
    sample = sample_explanation()
    faint, inverted = FilmWarning("faint", "Low contrast < 41."), FilmWarning("inverted", "Inverted.", withholds=True)
    film = dataclasses.replace(sample.film, warnings=(faint,))
    open_file(browser, dataclasses.replace(sample, film=film), tmp_path / "report.html")
    assert browser.text("warnings").splitlines() == ["Warning about this film", "Low contrast < 41."]
    assert browser.element("warnings").get_attribute("data-kind") == "doubt"
    assert browser.text("film-warning") == "Low contrast < 41."
    above = "return arguments[0].getBoundingClientRect().bottom <= arguments[1].getBoundingClientRect().top"
    assert browser.run(above, browser.element("warnings"), browser.element("findings")) is True
    assert browser.run(above, browser.element("film-warning"), browser.element("stage")) is True

    prior = dataclasses.replace(sample.film, warnings=(faint, inverted))
    open_file(browser, dataclasses.replace(sample, film=film, prior=prior), tmp_path / "report.html")
    assert browser.text("warnings").splitlines() == [
        "Read all the same: a report on this film means nothing",
        "Prior film: Inverted.",
        "Low contrast < 41.",
        "Prior film: Low contrast < 41.",
    ]
    withheld = browser.driver.find_elements("css selector", "#medinterp-warnings .mi-withholds")
    assert [one.text for one in withheld] == ["Prior film: Inverted."]
    assert browser.element("warnings").get_attribute("data-kind") == "withholds"
    open_file(browser, sample, tmp_path / "report.html")
    assert not browser.element("warnings").is_displayed() and not browser.element("film-warning").is_displayed()


def test_the_provenance_says_what_was_done_to_the_film_and_by_which_window(browser: Page, tmp_path: Path) -> None:
    sample = sample_explanation()
    choices = (WindowChoice("window-1", "center 40, width 400"), WindowChoice("full", "no window"))
    shown = dataclasses.replace(sample.film, notes=("inverted", "turned"), windows=choices, window="window-1")
    asked = dataclasses.replace(shown, window="50,300")
    open_file(browser, dataclasses.replace(sample, film=shown, prior=asked), tmp_path / "report.html")
    told = made(browser)
    assert told["Film: what was done to it"] == "inverted; turned"
    assert told["Film: window"] == "window-1: center 40, width 400"
    assert told["Prior film: window"] == "50,300"
    assert told["This file: disclaimer"] == "Research use only, not for diagnosis."
    assert told["This file: film sha256"] == f"{'ab' * 32}, {'ab' * 32}"
    open_file(browser, sample, tmp_path / "report.html")
    told = made(browser)
    assert "Film: window" not in told and "Prior film" not in told
    assert (told["Model"], told["Report"], told["Seed"]) == ("sample, revision 1", "written by the model", "none")
    assert told["Token limit"] == "64" and told["Prompt"] == "Describe the film."
    assert browser.driver.title == "Chest film report by sample"


def test_a_cut_off_report_says_so(browser: Page, tmp_path: Path) -> None:
    sample = sample_explanation()
    cut = dataclasses.replace(sample.report, complete=False)
    open_file(browser, dataclasses.replace(sample, report=cut), tmp_path / "report.html")
    assert browser.text("cut") == "Cut off after 8 tokens."
    open_file(browser, sample, tmp_path / "report.html")
    assert not browser.element("cut").is_displayed()


def test_a_given_report_says_that_no_model_wrote_it(browser: Page, tmp_path: Path) -> None:
    open_file(browser, given_explanation("HEART: A <b>zebra</b>."), tmp_path / "report.html")
    assert browser.driver.title == "A given report, explained by sample"
    assert browser.text("given-note") == "Given, not written by the model."
    told = made(browser)
    assert told["Report"] == "Given, not written by the model."
    assert "Seed" not in told and "Token limit" not in told and "Prompt" in told
    assert "<b>zebra</b>" in report_text(browser)
    open_file(browser, sample_explanation(), tmp_path / "report.html")
    assert not browser.element("given-note").is_displayed()


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"tokens_compared": True}, "its tokens are those explained here."),
        ({"tokens_compared": True, "retokenised_at": 0}, "from character 0 on its tokens are cut otherwise than here."),
        ({}, "which did not tell its tokens: those explained here may be cut otherwise."),
    ],
)
def test_an_engines_report_says_who_wrote_it_and_whether_its_tokens_are_these(
    browser: Page, tmp_path: Path, told: dict[str, Any], sentence: str
) -> None:
    sample = sample_explanation()
    provenance = dataclasses.replace(sample.provenance, writer="big/<model>", **told)
    open_file(browser, dataclasses.replace(sample, provenance=provenance), tmp_path / "report.html")
    assert browser.driver.title == "Chest film report by big/<model> at an engine, explained by sample"
    said = browser.text("given-note")
    assert said.startswith("Written by big/<model> at an engine") and said.endswith(sentence)
    assert made(browser)["Report"] == said and made(browser)["Token limit"] == "64"


# The report


def test_the_whole_text_is_there_in_its_order_with_markdown_headings(browser: Page, tmp_path: Path) -> None:
    text = "Preamble.\n\n**Lungs:** **Clear** lungs.\n## Heart\nBig.\n"
    lungs, heart = text.index(" **Clear"), text.index("Big")
    sections = (
        Section("Lungs", lungs, text.index("\n##"), text[lungs : text.index("\n##")]),
        Section("Heart", heart, heart + 4, "Big."),
    )
    words = words_of(text)
    open_file(browser, reported(Report(text, whole(text), words, sections, (), True)), tmp_path / "report.html")
    order = browser.run("return [...document.querySelectorAll('[data-word-index]')].map((e) => +e.dataset.wordIndex)")
    assert order == [word.index for word in words]
    assert [head.strip() for head in marked(browser, "mi-heading h3")] == ["Lungs", "Heart"]
    assert report_text(browser).split() == ["Preamble.", "Lungs", "**Clear**", "lungs.", "Heart", "Big."]


def test_words_that_no_token_wrote_are_no_buttons(browser: Page, tmp_path: Path) -> None:
    sample = sample_explanation()
    unwritten = {"token_indices": (), "image_mass": float("nan")}
    first, second, third = sample.report.words
    report = dataclasses.replace(sample.report, words=(dataclasses.replace(first, **unwritten), second, third))
    open_file(browser, dataclasses.replace(sample, report=report), tmp_path / "report.html")
    assert marked(browser, "medinterp-word") == ["effusion", "Größe"]
    assert "No effusion." in report_text(browser)
    click_word(browser, "effusion")
    reached = browser.driver.switch_to.active_element
    reached.send_keys(Keys.ARROW_LEFT)
    assert browser.run("return document.activeElement.textContent") == "effusion" == browser.text("subject")
    assert browser.run("return document.querySelector('#medinterp-report span:not([role])[aria-pressed]')") is None

    words = tuple(dataclasses.replace(word, **unwritten) for word in report.words)
    open_file(
        browser,
        dataclasses.replace(sample, report=dataclasses.replace(report, words=words)),
        tmp_path / "report.html",
    )
    assert chips(browser) == [["absent", "no pleural effusion"]]
    assert browser.run("return document.querySelector('#medinterp-findings button')") is None
    assert marked(browser, "medinterp-word") == [] and browser.logs()[0] == []


def test_words_that_the_model_would_hardly_write_have_a_wave_beside_their_other_line(
    browser: Page, tmp_path: Path
) -> None:
    sample = given_explanation("ZEBRA: A zebra. No zebra nodule.")
    finding = dataclasses.replace(sample_explanation().report.findings[0], word_indices=(4, 5))
    report = dataclasses.replace(sample.report, findings=(finding,))
    open_file(browser, dataclasses.replace(sample, report=report), tmp_path / "given.html")
    script = "return [...document.querySelectorAll('#medinterp-report .mi-unlikely')].map((e) => [e.textContent, "
    script += "e.parentNode.title.startsWith('Unlikely: the model gave this word less than 1 in 1,000') "
    script += "|| e.parentNode.title.includes('\\nUnlikely: '), "
    script += "getComputedStyle(e).textDecorationLine, getComputedStyle(e).textDecorationStyle])"
    assert browser.run(script) == [[word, True, "underline", "wavy"] for word in ("ZEBRA", "zebra", "zebra")]
    assert browser.text("unlikely") == "Wavy: the model gave this word less than 1 in 1,000."
    lines = "return [...document.querySelectorAll('.medinterp-word.mi-absent')].map((e) => "
    lines += "[e.textContent, getComputedStyle(e).textDecorationStyle])"
    assert browser.run(lines) == [["zebra", "solid"], ["nodule", "solid"]]
    click_word(browser, "zebra")
    assert "Unlikely\nless than 1 in 1,000" in browser.text("details")
    click_word(browser, "nodule")
    assert "Unlikely" not in browser.text("details")
    open_file(browser, sample_explanation(), tmp_path / "report.html")
    assert marked(browser, "mi-unlikely") == [] and not browser.element("unlikely").is_displayed()


def test_an_unread_sentence_may_be_cut_by_headings_and_hold_blanks(browser: Page, tmp_path: Path) -> None:
    text = "A:  one two.\nB: three four. \n"
    sections = (Section("A", 3, 12, text[3:12]), Section("B", 16, len(text), text[16:]))
    unread = (Sentence(2, len(text), "unread"),)
    report = Report(text, whole(text), words_of(text), sections, (), True, (), unread)
    open_file(browser, reported(report), tmp_path / "report.html")
    assert [one for one in marked(browser, "mi-unread") if one not in ("B", "")] == ["one two.", "three four."]
    assert report_text(browser).split() == ["A", "one", "two.", "B", "three", "four."]


# Findings, mentions, sentences, thoughts


def test_every_kind_is_told_apart(browser: Page, tmp_path: Path) -> None:
    """Chips, words, mentions, sentences and thoughts of one report, and that a chip chooses the words that say it."""
    explanation = all_kinds_explained(sample_film(131, 97))
    open_file(browser, explanation, tmp_path / "report.html")
    heart = "the heart and mediastinum are normal"
    assert chips(browser) == [
        ["present", "consolidation, right mid and lower"],
        ["present", "pleural effusion, right (larger)"],
        ["uncertain", "nodule?, left upper"],
        ["absent", "no pneumothorax, left"],
        ["absent", "CT ratio is normal: no cardiomegaly, no mediastinal widening"],
        ["absent", f"{heart}: no cardiomegaly, no mediastinal widening, no mediastinal shift"],
    ]
    buttons = browser.driver.find_elements("css selector", "#medinterp-findings .mi-chip")
    titles = [str(chip.get_attribute("title")).splitlines() for chip in buttons]
    assert titles[2] == ["hedged: may represent", "In LUNGS"]
    assert not any("hedged" in line for at in (0, 1, 3, 4, 5) for line in titles[at])

    for kind, words in {
        "mi-hedge": ["may", "represent"],
        "mi-uncertain": ["nodule"],
        "mi-present": ["Consolidation", "pleural", "effusion"],
    }.items():
        assert marked(browser, kind) == words
    assert marked(browser, "mi-absent")[:5] == ["pneumothorax", "CT", "ratio", "is", "normal"]
    lines = browser.run(
        "return ['present', 'uncertain', 'absent'].map((kind) => [`.medinterp-word.mi-${kind}`, `.mi-chip.mi-${kind}`]"
        ".map((name) => { const s = getComputedStyle(document.querySelector(name));"
        "return [s.textDecorationStyle, s.textDecorationThickness, s.borderTopStyle].join(' ')}))"
    )
    assert isinstance(lines, list)
    assert [word.split()[:2] for word, _ in lines] == [["solid", "2px"], ["dashed", "2px"], ["solid", "1px"]]
    assert [chip.split()[2] for _, chip in lines] == ["solid", "dashed", "solid"], "not by colour alone"

    assert browser.text("mentions") == "Also named: pneumothorax (history)"
    assert marked(browser, "mi-unread") == ["The veil is as the veil was."]
    assert marked(browser, "mi-unread .medinterp-word") == "The veil is as the veil was".split(), "they can be clicked"
    assert browser.text("sentences") == (
        "Dotted: not understood, no finding was taken from it. 6 sentences read, 2 not about findings, 1 unread."
    )
    assert report_text(browser).split()[:4] == ["TECHNIQUE", "Portable", "AP", "film."]
    assert "base" not in report_text(browser) and "unused94" not in str(browser.text("report"))

    report = explanation.report
    for at, index in ((2, 0), (5, 8)):
        buttons[at].click()
        words = [report.words[word] for word in report.findings[index].word_indices]
        assert_drawn(browser, explanation, "raw", tuple(token for word in words for token in word.token_indices))
    buttons[2].click()
    assert browser.text("subject") == "nodule?, left upper"
    assert browser.text("details").startswith("nodule?, left upper in LUNGS, hedged: may represent")
    browser.driver.find_element("css selector", "#medinterp-mentions button").click()
    assert browser.text("subject") == "pneumothorax"
    assert browser.logs()[0] == []


def test_what_has_none_of_these_says_nothing_of_them(browser: Page, tmp_path: Path) -> None:
    open_file(browser, sample_explanation(), tmp_path / "report.html")
    for name in ("mentions", "sentences", "unlikely"):
        assert not browser.element(name).is_displayed()
    assert chips(browser) == [["absent", "no pleural effusion"]]
    assert browser.driver.find_elements("css selector", "#medinterp-report details") == []


def test_the_surest_kind_counts_and_equal_findings_say_where_they_stand(browser: Page, tmp_path: Path) -> None:
    """A word of two findings has the line of the surer; a finding and its echo are one chip naming both sections."""
    report = all_kinds()
    denied = dataclasses.replace(report.findings[0], index=9, status="absent", hedge=None)
    again = dataclasses.replace(report.findings[2], index=10, section="IMPRESSION", word_indices=(20,), start=0, end=1)
    one = report.mentions[0]
    mentions = (one, dataclasses.replace(one, index=1, name="rib < fracture", role="elsewhere"))
    findings = (*report.findings, denied, again)
    changed = dataclasses.replace(report, findings=findings, mentions=mentions)
    open_file(browser, reported(changed), tmp_path / "report.html")
    assert "nodule" in marked(browser, "mi-uncertain") and "nodule" not in marked(browser, "mi-absent")
    assert ["present", "pleural effusion, right (larger)×2"] in chips(browser)
    chip = browser.driver.find_element("css selector", '#medinterp-findings [data-finding-index="2"]')
    assert chip.get_attribute("title") == "In PLEURA and IMPRESSION"
    assert browser.text("mentions") == "Also named: pneumothorax (history), rib < fracture (elsewhere)"


@pytest.mark.parametrize("cut", ["<unused94>thought\nThe base is", "<unused94>", "Clear. <unused94>thought\nHm"])
def test_thinking_that_was_cut_off_is_no_report(browser: Page, tmp_path: Path, cut: str) -> None:
    start = cut.index("<")
    thinking = (Thinking(start, len(cut), (0,)),)
    report = Report(cut, whole(cut), words_of(cut), (), (), False, thinking=thinking)
    open_file(browser, reported(report), tmp_path / "report.html")
    assert report_text(browser) == (cut[:start].strip() or "The model thought, and wrote no report.")
    folded = browser.driver.find_elements("css selector", "#medinterp-report details")
    assert len(folded) == (cut != "<unused94>")
    assert browser.text("cut").startswith("Cut off after 1 token")


def test_words_of_the_thinking_are_clicked_once_it_is_unfolded(browser: Page, tmp_path: Path) -> None:
    explanation = all_kinds_explained(sample_film(131, 97))
    open_file(browser, explanation, tmp_path / "report.html")
    details = browser.driver.find_element("css selector", "#medinterp-report details")
    summary = details.find_element("css selector", "summary")
    assert summary.text == "What the model thought before it answered, 10 words"
    words = details.find_elements("css selector", ".medinterp-word")
    assert not any(word.is_displayed() for word in words)
    indices = browser.run("return [...document.querySelectorAll('[data-word-index]')].map((e) => e.dataset.wordIndex)")
    assert isinstance(indices, list) and len(indices) == len(set(indices)), "no word is there twice"
    reached = "return document.activeElement.textContent"
    enters = "return document.querySelector('.medinterp-word[tabindex=\"0\"]').textContent"
    assert browser.run(enters) == "TECHNIQUE", "what is folded away cannot be reached"
    click_word(browser, "TECHNIQUE")
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert browser.run(reached) == "TECHNIQUE"
    summary.click()
    browser.wait(f"{enters} === 'The'")
    words[3].click()
    word = next(word for word in explanation.report.words if word.text == "is")
    assert words[3].text == "is" == browser.text("subject")
    assert "in what the model thought" in browser.text("details")
    assert_drawn(browser, explanation, "raw", word.token_indices)
    words[3].send_keys(Keys.END)
    assert browser.run(reached) == "normal"
    summary.click()
    browser.wait(f"{enters} === 'TECHNIQUE'")
    assert browser.logs()[0] == []
