"""The page about a preparation: complete, self-contained, without attributes of patients."""

import base64
import re

import fake_dicom
import page_reader
import pytest

from cpca_jax.data.collections.sources import Inputs
from cpca_jax.data.collections.splits import SplitChoice
from cpca_jax.errors import ConfigError, ScanError, StoreError
from cpca_jax.preparation import prepare, store_page


@pytest.fixture
def collection(tmp_path):
    """Write pairs, a patient with full dose only, and more bad files than the console lists."""
    root = tmp_path / "in"
    for patient in ("L001", "L002", "L003", "L148"):
        fake_dicom.write_pair(root / patient, PatientID=patient)
    fake_dicom.write_pair(root / "hidden name", PatientID="SECRET-4711")
    fake_dicom.write_series(
        root / "L300" / "full_3mm", fake_dicom.body(2, noise_hu=9), PatientID="L300"
    )
    for number in range(8):
        path = root / f"mr{number}<b>.dcm"
        fake_dicom.write_slice(path, fake_dicom.body(1, noise_hu=1)[0], Modality="MR")
    fake_dicom.write_slice(
        root / "L001" / "full_3mm" / "lossy", fake_dicom.body(1, noise_hu=1)[0], position_mm=-90
    )
    return root


def check(collection, tmp_path, **options):
    report = tmp_path / "page.html"
    made = prepare.prepare_scans(Inputs(collection), None, check=True, report=report, **options)
    assert made is None
    return report.read_text()


def rows(page, heading):
    return page_reader.section(page, heading).rows


def items(page, heading):
    return page_reader.section(page, heading).items


def test_everything_is_on_the_page(tmp_path, collection):
    page = check(collection, tmp_path)
    found = rows(page, "Found")
    assert ["L002", "full", "B30f", "3 mm", "5", "2 mm"] in found
    assert ["L002", "low", "B30f", "3 mm", "5", "2 mm"] in found
    refused = items(page, "Refused")
    assert len(refused) == 9  # eight files and the pair with a lone slice
    assert "mr3<b>.dcm: Modality is MR, must be CT; not a CT image" in refused
    assert any("1 of 6 full-dose and 0 of 5 low-dose" in message for message in refused)
    assert items(page, "Full dose only") == ["L300"]
    assert any("low-dose projection file" in item for item in items(page, "Known defects"))
    noise = {row[0]: row[1:] for row in rows(page, "Noise")}
    slices, full, low, ratio = noise["L002-B30f-3mm"]
    assert (int(slices), float(full), float(low)) == (
        5,
        pytest.approx(10, rel=0.2),
        pytest.approx(20, rel=0.2),
    )
    assert float(ratio) == pytest.approx(2, rel=0.2)
    split = rows(page, "Split")
    assert [row[0] for row in split] == ["train", "validation", "test"]
    assert sum(int(row[1]) for row in split) == 4
    assert sum(int(row[2]) for row in split) == 20


def test_the_page_is_complete_in_itself_and_tells_nothing_of_a_patient(tmp_path, collection):
    page = check(collection, tmp_path)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == store_page.EXAMPLES
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    text = re.sub(r'base64,[^"]+', "", page)
    assert page.count("src=") == store_page.EXAMPLES
    for secret in ("SECRET", "Marker", "hidden", str(tmp_path), "1.2.3.4", "<b>"):
        assert secret not in text
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600


def test_checking_and_writing_say_the_same(tmp_path, collection):
    before = sorted(collection.rglob("*"))
    page = check(collection, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "page.html"]
    made = prepare.prepare_scans(Inputs(collection), tmp_path / "out")
    assert (made.root / "prepare.html").read_text() == page
    assert sorted(collection.rglob("*")) == before


def test_checking_checks_the_output_too(tmp_path, collection):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "precious").write_text("data")
    with pytest.raises(StoreError, match="taken: is not empty"):
        prepare.prepare_scans(Inputs(collection), tmp_path / "taken", check=True)


def test_a_page_even_where_nothing_can_be_used(tmp_path):
    root = tmp_path / "in"
    fake_dicom.write_pair(root / "L001", full_hu=20.0, low_hu=10.0)
    with pytest.raises(ScanError, match="no usable pair"):
        check(root, tmp_path)
    assert "are the dose levels swapped?" in (tmp_path / "page.html").read_text()


def test_a_split_that_nobody_is_in(tmp_path, collection):
    lines = []
    with pytest.raises(
        ConfigError, match="published split lodopab: none of the 4 patients is in it"
    ):
        check(collection, tmp_path, choice=SplitChoice(by="lodopab"), say=lines.append)
    assert any(line.startswith("left out: 4 patients in no split: L002, L003") for line in lines)


@pytest.mark.parametrize(
    ("name", "message"), [("page.pdf", "must end in .html"), ("in/page.html", "lies in the input")]
)
def test_pages_are_not_written_anywhere(tmp_path, collection, name, message):
    with pytest.raises(ConfigError, match=message):
        prepare.prepare_scans(Inputs(collection), None, check=True, report=tmp_path / name)
    assert not (tmp_path / name).exists()
