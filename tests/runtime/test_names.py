"""Names from outside cannot steer a terminal, forge a line or break the output."""

import io

from rich.console import Console

from cpca_jax.data import messages
from cpca_jax.runtime import logs, pages


def test_control_characters_of_a_name_are_escaped(capsys):
    name = "a\x1b[2J\r\u202eb\udc80.dcm"
    logs.say(name)
    logs.complain(name)
    shown = capsys.readouterr()
    assert shown.out.strip() == shown.err.strip() == r"a\x1b[2J\r\u202eb\udc80.dcm"


def test_letters_of_any_language_stay():
    assert logs.escaped("Größe 北京\nline") == "Größe 北京\nline"


def test_a_name_with_a_line_feed_forges_no_line():
    said: list[str] = []
    messages.say_first("refused", ["a\ndone: all is well"], said.append)
    assert said == ["refused: a done: all is well"]


def test_a_line_is_one_line_and_a_table_several(capsys):
    logs.say("a\ndone: all is well.dcm: 3 slices")
    logs.show("method\nlow dose")
    assert capsys.readouterr().out.splitlines() == [
        r"a\ndone: all is well.dcm: 3 slices",
        "method",
        "low dose",
    ]


def test_progress_of_a_name_with_markup_is_shown_as_it_is(monkeypatch):
    shown = Console(file=io.StringIO(), force_terminal=True, width=200)
    monkeypatch.setattr(logs, "_console", shown)
    with logs.ProgressBar("[/red]a\x1b[2J\nb", 1) as bar:
        bar.advance()
    assert r"[/red]a\x1b[2J\nb" in shown.file.getvalue()


def test_a_page_keeps_no_control_characters(monkeypatch):
    monkeypatch.setattr(pages, "_read_template", lambda name: "{{ page }}\t\N{NO-BREAK SPACE}\n")
    shown = pages.render("a.html.jinja", "a\x1b[2J\x00\x9b\u202eb\udc80<c")
    assert shown == "a\\x1b[2J\\x00\\x9b\\u202eb\\udc80&lt;c\t\N{NO-BREAK SPACE}\n"
