"""Names from outside cannot steer a terminal, forge a line or break the output."""

from cpca_jax.data import messages
from cpca_jax.runtime import logs


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
