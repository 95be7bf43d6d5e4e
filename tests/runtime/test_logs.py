"""Logs of a run that was interrupted: no step twice, no torn line."""

from cpca_jax.runtime import logs


def test_steps_that_will_be_done_again_are_dropped(tmp_path):
    first = logs.RunLog(tmp_path, 0)
    for step in (1, 2, 3, 4):
        first.write("train", step, {"loss": step / 2})
    first.close()
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    again = logs.RunLog(tmp_path, 2)
    again.write("train", 3, {"loss": float("nan")})
    again.close()
    rows = logs.read_jsonl(tmp_path / "train.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[2]["loss"] is None


def test_a_file_that_is_not_there_has_no_lines(tmp_path):
    assert logs.read_jsonl(tmp_path / "none.jsonl") == []
