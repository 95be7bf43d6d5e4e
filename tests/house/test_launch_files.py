"""Launch files: they parse, start train.py with its own flags, and start a stopped one again.

The schedulers' own programs are stand-ins here, which note their calls.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
import yaml
from conftest import CHECKOUT

from cpca_jax.programs import launch

FOLDER = CHECKOUT / "launch"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".sh", ".yaml"})
AGAIN = [launch.STOPPED, launch.INTERRUPTED]

# A program that notes its name and arguments as a line of JSON, and then plays its part in a test.
STAND_IN = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
folder, name, arguments = Path(__file__).parent, Path(__file__).name, sys.argv[1:]
with (folder / "calls").open("a") as file:
    file.write(json.dumps([name, *arguments]) + "\\n")
"""
SRUN = STAND_IN + 'sys.exit(int(os.environ["CODE"]))'
SQUEUE = STAND_IN + 'print(os.environ["STATE"])'
# A TPU that exists from its creation until it is taken away.
GCLOUD = (
    STAND_IN
    + """
state = folder / "state"
if "describe" in arguments:
    sys.exit(1) if not state.exists() else print(state.read_text())
elif "create" in arguments:
    assert not state.exists()
    state.write_text("READY")
elif "delete" in arguments:
    assert state.read_text() == "PREEMPTED"
    state.unlink()
elif "train.py" in " ".join(arguments):
    outcomes = json.loads((folder / "outcomes").read_text())
    (folder / "outcomes").write_text(json.dumps(outcomes[1:]))
    if outcomes[0] == "taken":
        state.write_text("PREEMPTED")
    sys.exit(255 if outcomes[0] == "taken" else outcomes[0])
"""
)
# A program that parses its flags as train.py does and prints the result.
PARSE = """
import json, sys
from cpca_jax.programs import train
from cpca_jax.runs import config
from cpca_jax.runtime import processes
train.PROGRAM.parse(sys.argv)
experiment = config.parse(train._CONFIG.value)
choice = train._DISTRIBUTED.value
place = None if choice == "auto" else vars(processes.parse(choice))
print(json.dumps([experiment.data.store, train._WORKDIR.value, place]))
"""
JOIN = """
import sys, time
from cpca_jax.programs import launch
from cpca_jax.runtime import processes
choice, seconds = sys.argv.pop().removeprefix("--distributed="), float(sys.argv.pop())

def main():
    processes.join(choice)
    import jax
    try:  # before a word is said: the signal may follow it at once
        # One write: what two processes write in pieces is mixed.
        sys.stdout.write(f"process {jax.process_index()} of {jax.process_count()}\\n")
        sys.stdout.flush()
        time.sleep(seconds)
    except KeyboardInterrupt:
        sys.exit(launch.STOPPED)

launch.run(launch.Program(""), main)
"""


def stand_ins(folder, **programs):
    """Write these programs into a folder for PATH, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def calls(folder):
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def bash(*arguments, path=None, cwd=CHECKOUT, **environment):
    """Run a script with little more in its environment than `environment`; return its result."""
    found = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    return subprocess.run(
        ["bash", *map(str, arguments)],
        cwd=cwd,
        env={"PATH": found, "HOME": str(path or cwd)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def document(name):
    return yaml.safe_load((FOLDER / name).read_text())


def container():
    (job,) = document("jobset.yaml")["spec"]["replicatedJobs"]
    (one,) = job["template"]["spec"]["template"]["spec"]["containers"]
    return job["template"]["spec"], one


def run_slurm(folder, code=0, state="RUNNING", arguments=()):
    stand_ins(folder, srun=SRUN, squeue=SQUEUE, scontrol=STAND_IN)
    script = FOLDER / "slurm.sh"
    environment = {"CODE": str(code), "STATE": state, "SLURM_JOB_ID": "7"}
    return bash(script, *arguments, path=folder, **environment)


def run_tpu(folder, *outcomes, arguments=()):
    stand_ins(folder, gcloud=GCLOUD, git=STAND_IN, sleep=STAND_IN)
    (folder / "outcomes").write_text(json.dumps(outcomes))
    return bash(FOLDER / "tpu_vm.sh", *arguments, path=folder)


def run_sky(folder):
    python = stand_ins(folder / ".venv" / "bin", python=STAND_IN)
    sky = document("sky.yaml")
    machine = {
        "NODE_IPS": "10.0.0.4\n10.0.0.5",
        "NUM_NODES": str(sky["num_nodes"]),
        "NODE_RANK": "1",
    }
    environment = {f"SKYPILOT_{name}": value for name, value in machine.items()}
    result = bash("-euo", "pipefail", "-c", sky["run"], cwd=folder, **sky["envs"], **environment)
    assert result.returncode == 0, result.stderr
    return calls(python)[0]


def commands(folder):
    """Return the arguments of train.py in each launch file, as its scheduler would start it."""
    run_slurm(folder / "slurm", arguments=["--config.train.seed=1"])
    run_tpu(
        folder / "tpu", 0, arguments=["--config.train.seed=1", "--config.data.kernels=('a b',)"]
    )
    _, kubernetes = container()
    variables = {"FIRST": "cpca-train-0-0.cpca", "INDEX": "1"}
    variables |= {one["name"]: one["value"] for one in kubernetes["env"] if "value" in one}
    (remote,) = [call[-2] for call in calls(folder / "tpu") if "train.py" in " ".join(call)]
    found = {
        "slurm.sh": next(call for call in calls(folder / "slurm") if call[0] == "srun"),
        "tpu_vm.sh": shlex.split(remote.removeprefix("--command=").partition(" && ")[2]),
        "jobset.yaml": [
            re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], part)
            for part in kubernetes["command"]
        ],
        "sky.yaml": run_sky(folder / "sky"),
    }
    return {name: command[command.index("train.py") :] for name, command in found.items()}


def test_every_file_says_how_it_is_called_changed_and_resumed():
    page = (FOLDER / "README.md").read_text()
    assert len(FILES) == 5
    for path in FILES:
        top = re.match(r"(#.*\n)+", path.read_text())[0]
        assert f"launch/{path.name}" in top, path.name
        assert "resumes" in top or "goes on" in top, path.name
        assert f"]({path.name})" in page, path.name
        if path.name != "local_processes.sh":
            assert "To change:" in top, path.name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_stop_at_what_is_undefined(path):
    text = path.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    assert os.access(path, os.X_OK)
    result = bash("-n", path)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_every_command_is_one_that_train_understands(tmp_path):
    places = {
        "slurm.sh": None,
        "tpu_vm.sh": None,
        "jobset.yaml": {"host": "cpca-train-0-0.cpca", "port": 8476, "count": 2, "index": 1},
        "sky.yaml": {"host": "10.0.0.4", "port": 8476, "count": 2, "index": 1},
    }
    found = commands(tmp_path)
    assert set(found) == set(places)
    for name, command in found.items():
        result = subprocess.run(
            [sys.executable, "-c", PARSE, *command[1:]],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{name}: {result.stderr}"
        store, run, place = json.loads(result.stdout)
        assert "stores/" in store, name
        assert "runs/" in run, name
        assert place == places[name], name
    assert "--config.train.seed=1" in found["slurm.sh"]
    assert "--config.data.kernels=('a b',)" in found["tpu_vm.sh"]


@pytest.mark.parametrize(
    ("code", "state", "again"),
    [
        (0, "RUNNING", False),
        (launch.BUG, "RUNNING", False),
        (launch.BAD_INPUT, "RUNNING", False),
        (launch.STOPPED, "RUNNING", True),
        (launch.INTERRUPTED, "RUNNING", True),
        (launch.STOPPED, "COMPLETING", False),  # as after scancel
    ],
)
def test_slurm_puts_a_stopped_training_back_into_the_queue(tmp_path, code, state, again):
    result = run_slurm(tmp_path, code, state)
    assert result.returncode == code, result.stderr
    assert (["scontrol", "requeue", "7"] in calls(tmp_path)) == again


def test_slurm_directives_are_seen_and_agree():
    """Slurm reads directives up to the first command only."""
    head = (FOLDER / "slurm.sh").read_text().partition("\nset -")[0]
    options = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in head.splitlines()
        if line.startswith("#SBATCH ")
    )
    assert all(line.startswith("#") or not line for line in head.splitlines())
    assert set(options) == {
        "job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal",
        "requeue", "open-mode",
    }  # fmt: skip
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert re.fullmatch(r"TERM@(\d+)", options["signal"])
    assert options["requeue"] == ""
    assert options["open-mode"] == "append"
    assert (FOLDER / "slurm.sh").read_text().count("#SBATCH --") == len(options)


def test_a_tpu_that_is_taken_away_is_made_anew(tmp_path):
    result = run_tpu(tmp_path, "taken", "taken", 0)
    assert result.returncode == 0, result.stderr
    verbs = [call[4] for call in calls(tmp_path) if call[0] == "gcloud" and call[4] != "describe"]
    once = ["create", "scp", "ssh", "ssh"]
    assert verbs == [*once, "delete", *once, "delete", *once]
    for call in calls(tmp_path):
        assert call[0] != "gcloud" or call[1:4] == ["compute", "tpus", "tpu-vm"]
        assert call[0] != "gcloud" or "--zone=us-west4-a" in call
        assert call[0] != "gcloud" or call[4] not in {"ssh", "scp"} or "--worker=all" in call


@pytest.mark.parametrize("code", [launch.BUG, launch.BAD_INPUT, launch.STOPPED])
def test_a_training_that_fails_on_a_tpu_ends_the_script(tmp_path, code):
    result = run_tpu(tmp_path, code)
    assert result.returncode == code
    assert not json.loads((tmp_path / "outcomes").read_text())


def test_what_runs_on_the_tpus_is_a_script(tmp_path):
    run_tpu(tmp_path, 0)
    for call in calls(tmp_path):
        for argument in call:
            if argument.startswith("--command="):
                assert bash("-n", "-c", argument.removeprefix("--command=")).returncode == 0


def test_jobset_has_the_fields_that_matter():
    jobset = document("jobset.yaml")
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    spec = jobset["spec"]
    assert set(spec) == {"coordinator", "failurePolicy", "replicatedJobs"}
    (job,) = spec["replicatedJobs"]
    assert set(job) == {"name", "replicas", "template"}
    assert spec["coordinator"] == {"replicatedJob": job["name"], "jobIndex": 0, "podIndex": 0}
    template, one = container()
    assert set(template) == {
        "parallelism", "completions", "completionMode", "backoffLimit", "podFailurePolicy", "template",
    }  # fmt: skip
    assert template["completionMode"] == "Indexed"
    pod = template["template"]["spec"]
    assert set(pod) == {"restartPolicy", "terminationGracePeriodSeconds", "containers", "volumes"}
    count = next(entry["value"] for entry in one["env"] if entry["name"] == "PROCESSES")
    assert template["parallelism"] == template["completions"] == int(count)
    assert {port["containerPort"] for port in one["ports"]} == {8476}
    assert {mount["name"] for mount in one["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    fields = {
        entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"]
        for entry in one["env"]
        if "valueFrom" in entry
    }
    assert fields == {
        "FIRST": "metadata.annotations['jobset.sigs.k8s.io/coordinator']",
        "INDEX": "metadata.annotations['batch.kubernetes.io/job-completion-index']",
    }


def test_jobset_starts_a_stopped_training_again():
    """Every pod that ends fails its job at once; a stop or a move never counts as a failure."""
    template, one = container()
    assert template["backoffLimit"] == 0
    pod = template["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # required by a policy of failures
    assert pod["terminationGracePeriodSeconds"] >= 60
    stopped, moved = template["podFailurePolicy"]["rules"]
    assert stopped == {
        "action": "FailJob",
        "onExitCodes": {"containerName": one["name"], "operator": "In", "values": AGAIN},
    }
    condition = {"type": "DisruptionTarget", "status": "True"}
    assert moved == {"action": "FailJob", "onPodConditions": [condition]}
    policy = document("jobset.yaml")["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 0
    (rule,) = policy["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_sky_has_the_fields_that_matter():
    sky = document("sky.yaml")
    assert set(sky) == {
        "name", "num_nodes", "resources", "workdir", "envs", "file_mounts", "setup", "run",
    }  # fmt: skip
    assert set(sky["resources"]) == {"accelerators", "use_spot", "job_recovery"}
    assert sky["resources"]["use_spot"] is True
    recovery = sky["resources"]["job_recovery"]
    assert set(recovery) == {"recover_on_exit_codes", "max_restarts_on_errors"}
    assert recovery["recover_on_exit_codes"] == AGAIN
    ((place, mount),) = sky["file_mounts"].items()
    assert mount == {"source": "${BUCKET}", "mode": "MOUNT_CACHED"}
    assert f"{place}/runs/" in sky["run"]
    assert f"{place}/stores/" in sky["run"]
    for script in (sky["setup"], sky["run"]):
        assert bash("-n", "-c", script).returncode == 0


def start_local(tmp_path, *arguments):
    program = tmp_path / "program.py"
    program.write_text(JOIN)
    return subprocess.Popen(
        [str(FOLDER / "local_processes.sh"), *arguments[:2], str(program), *arguments[2:]],
        env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_local_processes_join_and_are_stopped_together(tmp_path):
    process = start_local(tmp_path, "2", "--", "0")
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 0, complained
    assert sorted(said.splitlines()) == ["process 0 of 2", "process 1 of 2"]

    process = start_local(tmp_path, "2", "--", "300")
    for _ in range(2):
        assert process.stdout.readline().startswith("process ")
    process.send_signal(signal.SIGTERM)
    _, complained = process.communicate(timeout=120)
    assert process.returncode == launch.STOPPED, complained


def test_local_processes_end_with_the_first_failure(tmp_path):
    """The last of three processes fails here, and its exit code is returned."""
    program = tmp_path / "program.py"
    program.write_text("import sys\nsys.exit(2 if sys.argv[-1].endswith(',3,1') else 0)\n")
    arguments = (FOLDER / "local_processes.sh", "3", "--", program)
    assert bash(*arguments, PYTHON=sys.executable).returncode == launch.BAD_INPUT


@pytest.mark.parametrize(
    "arguments", [(), ("2",), ("2", "--"), ("0", "--", "x"), ("x", "--", "y"), ("2", "x", "y")]
)
def test_local_processes_say_how_they_are_called(arguments):
    result = bash(FOLDER / "local_processes.sh", *arguments, PYTHON=sys.executable)
    assert result.returncode == launch.BAD_INPUT
    assert result.stderr.startswith("error: call it as local_processes.sh COUNT -- train.py")


def test_configurations_that_examples_name_exist():
    texts = [path.read_text() for path in [*FILES, FOLDER / "README.md"]]
    names = {name for text in texts for name in re.findall(r"configs/\w+\.py", text)}
    assert len(names) >= 2
    for name in names:
        assert (CHECKOUT / name).exists(), name
