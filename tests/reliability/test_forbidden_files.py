"""A file that the system does not let anybody read is named so, and is not called damaged."""

import builtins
import errno
import io
import os

import kinds
import pytest

from cpca_jax.errors import InputError
from cpca_jax.runtime import circumstances

# A volume says itself what made it, and its record is written again.
WRITTEN_AGAIN = {"denoised-record"}


@pytest.mark.parametrize("name", sorted(kinds.KINDS.keys() - WRITTEN_AGAIN))
def test_a_forbidden_file_of_every_kind(name, tmp_path, monkeypatch, capsys):
    kind = kinds.KINDS[name]
    kind.make(tmp_path)
    chosen = sorted(path for path in tmp_path.glob(kind.files) if path.is_file())[-1]
    real = builtins.open

    def forbidding(file, *args, **kwargs):
        if isinstance(file, str | os.PathLike) and os.path.basename(file) == chosen.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return real(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", forbidding)
    monkeypatch.setattr(io, "open", forbidding)
    said = ""
    try:
        kind.read(tmp_path)
    except (InputError, PermissionError) as error:
        said = str(error) if isinstance(error, InputError) else circumstances.sentence(error)
    printed = capsys.readouterr()
    assert "Permission denied; ask for permission" in said + printed.out + printed.err
    assert str(tmp_path) not in said
