"""Plug-ins are loaded once and refused in one sentence."""

import sys

import pytest

from cpca_jax.errors import InputError
from cpca_jax.runtime import plugins

COUNTING = "import sys\nsys.loads = getattr(sys, 'loads', 0) + 1\n"


@pytest.fixture(autouse=True)
def loads(monkeypatch):
    monkeypatch.setattr(sys, "loads", 0, raising=False)


def test_a_file_is_loaded_once_and_remembered_without_its_folder(tmp_path):
    (tmp_path / "mine.py").write_text(COUNTING)
    path = str(tmp_path / "mine.py")
    assert plugins.load([path, path]) == ("mine.py", "mine.py")
    assert plugins.load([str(tmp_path / "." / "mine.py")]) == ("mine.py",)
    assert sys.loads == 1


def test_two_files_of_one_name_are_two_plugins(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(COUNTING)
    plugins.load([str(tmp_path / "a" / "mine.py"), str(tmp_path / "b" / "mine.py")])
    assert sys.loads == 2


def test_a_module_is_remembered_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "rows.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(tmp_path)
    assert plugins.load(["pack.rows"]) == ("pack.rows",)
    assert plugins.load(["pack.rows"]) == ("pack.rows",)
    assert sys.loads == 1


def test_a_dataclass_in_a_file_works(tmp_path):
    """A dataclass looks up its own module in sys.modules."""
    (tmp_path / "own.py").write_text(
        "from __future__ import annotations\nimport dataclasses\n\n\n"
        "@dataclasses.dataclass\nclass Row:\n    width: int = 3\n"
    )
    assert plugins.import_file(tmp_path / "own.py").Row().width == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "--plugin: bad.py: ZeroDivisionError: division by zero"),
        ("def f(:", "--plugin: bad.py: SyntaxError"),
        ("raise SystemExit(3)", "--plugin: bad.py: SystemExit: 3"),
        ("import nothing_like_it", "--plugin: bad.py: ModuleNotFoundError: No module named"),
    ],
)
def test_a_plugin_that_raises_is_named(tmp_path, text, said):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(InputError) as error:
        plugins.load([str(tmp_path / "bad.py")])
    assert str(error.value).startswith(said)


def test_a_plugin_that_failed_is_tried_again(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("1 / 0")
    with pytest.raises(InputError):
        plugins.load([str(path)])
    path.write_text(COUNTING)
    plugins.load([str(path)])
    assert sys.loads == 1


@pytest.mark.parametrize("name", ["none.py", "no_such_module", "no such module"])
def test_a_missing_plugin_is_named(name):
    with pytest.raises(InputError, match=f"--plugin: {name}: "):
        plugins.load([name])
