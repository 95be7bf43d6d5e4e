"""Records of an earlier run: what is missing or damaged is made again, what is withheld is not."""

import errno
import io
import os

import pytest

from cpca_jax.errors import OutputError
from cpca_jax.runtime.records import read_record


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_missing_or_damaged_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "done.json").write_bytes(content)
    assert read_record(tmp_path / "done.json") is None
    assert read_record(tmp_path / "done.json" / "below") is None
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("code", ["EACCES", "EIO", "ESTALE"])
def test_what_the_system_withholds_is_not_made_again(tmp_path, monkeypatch, code):
    path = tmp_path / "done.json"
    path.write_text('{"a": 1}')
    assert read_record(path) == {"a": 1}
    number = getattr(errno, code)

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(io, "open", refuse)
    said = rf"^{tmp_path.name}/done\.json: cannot be read: {os.strerror(number)}; "
    with pytest.raises(OutputError, match=said):
        read_record(path)
