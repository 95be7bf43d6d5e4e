"""Logs of a run that was interrupted or damaged: no step twice, nothing sound lost."""

import math
import re

import pytest

from cpca_jax.runtime import run_log


def test_steps_that_will_be_done_again_are_dropped(tmp_path):
    first = run_log.RunLog(tmp_path, 0)
    for step in (1, 2, 3, 4):
        first.write("train", step, {"loss": step / 2})
    first.close()
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    again = run_log.RunLog(tmp_path, 2)
    again.write("train", 3, {"loss": float("nan")})
    again.close()
    rows = run_log.read_jsonl(tmp_path / "train.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert math.isnan(rows[2]["loss"])
    assert '"loss": null' in (tmp_path / "train.jsonl").read_text()


def test_a_file_that_is_not_there_has_no_lines(tmp_path):
    assert run_log.read_jsonl(tmp_path / "none.jsonl") == []


def written(folder, steps):
    log = run_log.RunLog(folder, 0)
    for step in steps:
        log.write("train", step, {"loss": step / 2})
    log.close()
    return folder / "train.jsonl"


def resumed(folder, step):
    """Go on from a step with one more line, and return all lines as they then stand."""
    log = run_log.RunLog(folder, step)
    log.write("train", step + 1, {"loss": 0.0})
    log.close()
    return (folder / "train.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("byte", [b"\xff", b"\x00", b"}", b'"', b"\n", b"\r"])
@pytest.mark.parametrize("line", [0, 2, 5])
@pytest.mark.parametrize("place", [0, 2, 9, 10])
def test_a_damaged_byte_costs_no_other_line(tmp_path, capsys, byte, line, place):
    path = written(tmp_path, range(1, 7))
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[line][:place] + byte + lines[line][place + 1 :]
    path.write_bytes(b"".join([*lines[:line], damaged, *lines[line + 1 :]]))
    rows = run_log.read_jsonl(path)
    others = [step for step in range(1, 7) if step != line + 1]
    assert [row["step"] for row in rows if row["step"] in others] == others
    assert re.search(
        rf"warning: train\.jsonl: line {line + 1} cannot be read", capsys.readouterr().out
    )
    after = resumed(tmp_path, 6)
    assert b"".join(after[:-1]) == b"".join([*lines[:line], damaged, *lines[line + 1 :]])
    assert b'"step": 7' in after[-1]


def test_a_damaged_line_feed_costs_the_two_lines_it_parted(tmp_path):
    path = written(tmp_path, range(1, 7))
    content = path.read_bytes().replace(b"\n", b"~", 3).replace(b"~", b"\n", 2)
    path.write_bytes(content)
    assert [row["step"] for row in run_log.read_jsonl(path)] == [1, 2, 5, 6]
    assert b"".join(resumed(tmp_path, 6)[:-1]) == content


@pytest.mark.parametrize("step", [90, 0, -3])
def test_a_damaged_step_costs_no_other_line(tmp_path, step):
    path = written(tmp_path, range(1, 7))
    content = path.read_bytes().replace(b'"step": 3', b'"step": %d' % step)
    path.write_bytes(content)
    after = resumed(tmp_path, 5)
    assert b"".join(after[:-1]) == b"".join(content.splitlines(keepends=True)[:5])


NO_ROWS = ["[]", "3", "null", "{}", '{"step": "3"}', '{"step": 3.5}', '{"step": true}',
           '{"step": 3, "loss": "low"}', '{"step": 3, "loss": [1]}', "[" * 100_000]  # fmt: skip


@pytest.mark.parametrize("text", NO_ROWS, ids=[text[:24] for text in NO_ROWS])
def test_a_line_that_is_no_row_is_kept_and_not_used(tmp_path, text):
    path = written(tmp_path, [1])
    with path.open("a") as file:
        file.write(text + "\n")
    before = path.read_bytes()
    assert [row["step"] for row in run_log.read_jsonl(path)] == [1]
    assert b"".join(resumed(tmp_path, 1)[:-1]) == before


def test_a_last_line_that_lacks_only_its_line_feed_is_whole(tmp_path, capsys):
    path = written(tmp_path, [1, 2])
    path.write_bytes(path.read_bytes()[:-1])
    assert [row["step"] for row in run_log.read_jsonl(path)] == [1, 2]
    assert len(resumed(tmp_path, 2)) == 3
    assert "warning" not in capsys.readouterr().out


def test_a_torn_last_line_is_said(tmp_path, capsys):
    path = written(tmp_path, [1, 2])
    path.write_bytes(path.read_bytes()[:-5])
    assert [row["step"] for row in run_log.read_jsonl(path)] == [1]
    assert "warning: train.jsonl: its last line is torn" in capsys.readouterr().out


def test_a_new_beginning_repeats_the_scores_of_step_0(tmp_path):
    for _ in range(2):
        log = run_log.RunLog(tmp_path, 0)
        log.write("validation", 0, {"psnr": 30.0})
        log.close()
    assert [row["step"] for row in run_log.read_jsonl(tmp_path / "validation.jsonl")] == [0]
