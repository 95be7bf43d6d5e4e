"""Named pipes and other special files in an input are passed over, never opened."""

import os

import fake_dicom
import numpy as np
import pytest

from cpca_jax.data.collections.sources import Inputs, gather
from cpca_jax.data.dicom.search import find_series
from cpca_jax.data.listing import list_files
from cpca_jax.data.scan import SPECIAL, no_track
from cpca_jax.errors import OutputError
from cpca_jax.runtime import files

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")


def test_a_pipe_beside_dicom_files_is_counted(tmp_path):
    fake_dicom.write_series(tmp_path / "full_3mm", np.zeros((2, 16, 16)))
    os.mkfifo(tmp_path / "full_3mm" / "a.dcm")
    assert list_files(tmp_path).special == 1
    assert find_series(tmp_path).special == 1
    assert gather(Inputs(tmp_path), track=no_track).found.left_out[SPECIAL] == 1


def test_a_pipe_among_arrays_is_counted(tmp_path):
    np.save(tmp_path / "a_full.npy", np.zeros((2, 16, 16)))
    os.mkfifo(tmp_path / "b_full.npy")
    assert gather(Inputs(tmp_path), track=no_track).found.left_out[SPECIAL] == 1


def test_the_folder_of_an_input_file_is_no_place_for_output(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii").touch()
    with pytest.raises(OutputError, match="lies in the input"):
        files.require_apart(tmp_path / "in" / "out", [tmp_path / "in" / "a.nii"])
    files.require_apart(tmp_path / "out", [tmp_path / "in" / "a.nii"])
