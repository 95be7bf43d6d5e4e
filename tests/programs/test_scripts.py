"""The commands as a user types them: help, bad input in one line with exit code 2."""

import importlib
import time
from pathlib import Path

import jax
import pytest
import tiny
from commands import call, refused
from conftest import CHECKOUT
from ml_collections import ConfigDict

from cpca_jax import cli, configs
from cpca_jax.errors import InputError
from cpca_jax.metrics import protocols
from cpca_jax.programs import evaluate, launch, reproduce
from cpca_jax.runs import checkpoints, config

SCRIPTS = [
    "train.py",
    "evaluate.py",
    "prepare.py",
    "denoise.py",
    "reproduce.py",
    "convert.py",
    "demo.py",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tiny.write_store(tmp_path_factory.mktemp("scripts") / "store")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_how_to_call_it(script):
    result = call(script, "--help")
    assert result.returncode == 0
    assert script in result.stdout
    assert "--" in result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_comes_without_jax(script):
    """The help also comes within a second, in the fastest of three starts."""
    program = f"import sys, runpy\nsys.argv = [{script!r}, '--help']\ntry:\n    runpy.run_path({script!r}, run_name='__main__')\nexcept SystemExit: pass\nassert 'jax' not in sys.modules\n"
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        result = call("-c", program)
        seconds.append(time.monotonic() - start)
        assert result.returncode == 0, result.stderr
    assert min(seconds) < 1.0


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_every_flag(script):
    program = importlib.import_module(f"cpca_jax.programs.{script.removesuffix('.py')}")
    shown = call(script, "--help").stdout
    for name in program.PROGRAM.flags:
        assert f"  --{name}\n" in shown
    assert shown.startswith(f"usage: {script} ")


@pytest.mark.parametrize("script", ["train.py", "convert.py", "reproduce.py"])
def test_help_documents_every_field_of_the_configuration(script):
    shown = call(script, "--help").stdout
    prefix = "--config.trainings.NAME.config." if script == "reproduce.py" else "--config."
    for path, value in leaves(config.defaults()):
        assert f"  {prefix}{path}={value if value != '' else chr(34) * 2}  (" in shown
    assert "The rows and columns of a training patch. Source: deck." in shown
    assert ("\n  deck " in shown) == (script == "reproduce.py")
    assert ("\n  cpca3_transfer " in shown) == (script != "reproduce.py")


def leaves(chosen, path=""):
    for name, value in chosen.items():
        nested = isinstance(value, ConfigDict) and len(value)
        yield from (
            leaves(value, f"{path}{name}.")
            if nested
            else [(f"{path}{name}", {} if isinstance(value, ConfigDict) else value)]
        )


def test_help_of_evaluate_lists_the_protocols():
    assert tuple(protocols.PROTOCOLS) == evaluate.PROTOCOLS


def test_the_commands_first_lines_are_those_of_the_programs():
    for name, line in cli.PROGRAMS.items():
        program = importlib.import_module(f"cpca_jax.programs.{name}")
        assert program.__doc__.splitlines()[0] == line
        assert f'"""{line}"""' in (CHECKOUT / f"{name}.py").read_text()
    assert sorted(f"{name}.py" for name in cli.PROGRAMS) == sorted(SCRIPTS)


def test_the_command_lists_its_programs_without_jax():
    """The command is `cpca`, as an installation starts it."""
    program = "import sys\nfrom cpca_jax import cli\nsys.argv[0] = 'cpca'\ntry:\n    cli.main()\nfinally:\n    assert 'jax' not in sys.modules and 'absl' not in sys.modules\n"
    for arguments in ((), ("--help",)):
        result = call("-c", program, *arguments)
        assert result.returncode == 0, result.stderr
        for name, line in cli.PROGRAMS.items():
            assert f"  {name:<10} {line}\n" in result.stdout
    refused(call("-c", program, "trian"), "'trian' is not one of the programs", "mean 'train'?")


def test_the_command_starts_a_program(tmp_path):
    program = "import sys\nfrom cpca_jax import cli\nsys.argv[0] = 'cpca'\ncli.main()\n"
    result = call("-c", program, "prepare", "--help", cwd=tmp_path, PYTHONPATH=str(CHECKOUT))
    assert result.stdout.startswith("usage: cpca prepare --FLAG=VALUE")
    arguments = ("train", "--config=cpca1:cpu", "--workdir=run", "--config.train.step=3")
    result = call("-c", program, *arguments, cwd=tmp_path, PYTHONPATH=str(CHECKOUT))
    refused(result, "config.train.step: no such key", "did you mean 'steps'?")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('oh\\nno')", "--plugin: mine.py: ValueError: oh no"),
        ("import sys\nsys.exit(5)", "--plugin: mine.py: SystemExit: 5"),
        (None, "--plugin: mine.py: no such file"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_one_line(tmp_path, text, said):
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    evaluate = call("evaluate.py", "--store=x", "--output=y", "--plugin", tmp_path / "mine.py")
    refused(evaluate, said)
    assert str(tmp_path) not in evaluate.stderr


def test_a_plugin_is_loaded_before_the_configuration(tmp_path):
    """Its flag may stand anywhere, because a configuration may use the rows that it registers."""
    (tmp_path / "one.py").write_text("import cpca_jax\ncpca_jax.seen = 'one'\n")
    (tmp_path / "two.py").write_text("import cpca_jax\ncpca_jax.seen += ' two'\n")
    (tmp_path / "own.py").write_text(
        "import cpca_jax\ndef get_config():\n    raise ValueError(cpca_jax.seen)\n"
    )
    plugins = f"--plugin={tmp_path / 'one.py'},{tmp_path / 'two.py'}"
    train = ("train.py", "--config", tmp_path / "own.py", "--workdir", tmp_path / "run", plugins)
    refused(call(*train), "own.py: ValueError: one two")


def test_an_unknown_configuration_key_is_one_line(tmp_path):
    arguments = ("--config", "configs/cpca1.py", "--workdir", tmp_path / "run")
    refused(call("train.py", *arguments, "--config.train.stepz=3"), "stepz")
    assert not (tmp_path / "run").exists()


def test_a_missing_configuration_file_or_flag_is_one_line(tmp_path):
    refused(call("train.py", "--config", "configs/none.py", "--workdir", tmp_path / "r"), "none.py")
    refused(call("train.py", "--config", "configs/cpca1.py"), "--workdir is missing")
    refused(call("evaluate.py", "--stores", "x"), "stores")
    refused(call("evaluate.py", "stray"), "'stray' is not a flag")


def test_a_missing_store_is_one_line(tmp_path):
    run = tmp_path / "run"
    arguments = ("train.py", "--config", "configs/demo.py", "--workdir", run)
    refused(call(*arguments), "config.data.store: empty", "prepare.py")
    refused(call(*arguments, f"--config.data.store={tmp_path / 'none'}"), "none")
    assert not run.exists()
    output = tmp_path / "out"
    refused(call("evaluate.py", "--store", tmp_path / "none", "--output", output), "none")
    assert not output.exists()


def test_an_address_is_not_taken_for_a_folder(tmp_path):
    """For pathlib, Path("gs://bucket") lies in the local folder "gs:"."""
    told = "must be a folder or a file; a bucket can be mounted as one (docs/scaling.md)"
    runs = call(
        CHECKOUT / "evaluate.py", "--runs=a,gs://bucket/b", "--store=s", "--output=o", cwd=tmp_path
    )
    refused(runs, f"--runs: 'gs://bucket/b' {told}")
    config = ("--config", "cpca1:cpu", "--workdir", tmp_path / "run")
    store = call("train.py", *config, "--config.data.store=s3://bucket/store")
    refused(store, f"config.data.store: 's3://bucket/store' {told}")
    assert not list(tmp_path.iterdir())


def test_missing_vgg19_weights_are_one_line(store, tmp_path):
    run = tmp_path / "run"
    chosen = ("--config", "configs/cpca1.py", f"--config.data.store={store}")
    small = ("--config.data.patch=20", "--config.data.batch=2")
    refused(call("train.py", *chosen, *small, "--workdir", run), "VGG19", "vgg16")
    assert not run.exists()


def test_bad_dicom_input_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    for source in ("empty", "none"):
        arguments = ("--input", tmp_path / source, "--output", tmp_path / "store")
        refused(call("prepare.py", *arguments), source)
    assert not list(tmp_path.glob("*store*"))
    refused(call("prepare.py", "--output", tmp_path / "store"), "--input and --phantom")


@pytest.mark.parametrize("version", ["0.10.2", "0.11.0", "0.11.1"])
def test_a_jax_that_miscomputes_is_refused(version):
    with pytest.raises(InputError, match=f"jax {version} is known to compute wrong numbers"):
        launch.refuse_broken_jax(version)
    launch.refuse_broken_jax(jax.__version__)


def test_debug_shows_the_traceback(tmp_path):
    result = call("evaluate.py", "--store", tmp_path / "none", "--output", tmp_path, "--debug")
    assert result.returncode == 2
    assert "Traceback" in result.stderr


def test_every_training_of_a_reproduction_remembers_the_plugins():
    deck = configs.load("deck:demo")
    reproduce.remember_plugins(deck, ("mine.py",))
    chosen = [training.config for training in deck.trainings.values()] + [deck.sweep.config]
    assert {config.parse(one).plugins for one in chosen} == {("mine.py",)}


def test_an_experiment_is_no_reproduction(tmp_path):
    wrong = call("reproduce.py", "--config=cpca1", "--workdir", tmp_path / "deck")
    refused(wrong, "--config: one experiment, must be a reproduction such as deck:demo")


@pytest.mark.slow
def test_the_whole_path_by_commands(store, tmp_path):
    """The commands train, transfer and evaluate on a small store, with VGG16's real weights."""
    sizes = ["--config.data.patch=20", "--config.data.batch=2", "--config.train.steps=2"]
    sizes += ["--config.train.steps_per_epoch=2", f"--config.data.store={store}"]
    train = CHECKOUT / "train.py"
    flat, deep = tmp_path / "flat", tmp_path / "deep"
    demo = CHECKOUT / "configs" / "demo.py"
    (tmp_path / "mine.py").write_text("print('loaded')\n")
    here = {"cwd": tmp_path}
    for command in (
        [train, "--config", demo, "--workdir", flat, "--plugin", "mine.py", *sizes],
        [train, "--config", f"{demo}:transfer", "--workdir", deep, f"--config.transfer.run={flat}", *sizes],
        [CHECKOUT / "evaluate.py", "--runs", f"{flat},{deep}", "--store", store, "--output", tmp_path / "out"],
    ):  # fmt: skip
        result = call(*command, **here)
        assert result.returncode == 0, result.stderr
    assert checkpoints.read_config(flat)["plugins"] == ["mine.py"]
    assert checkpoints.read_config(deep)["plugins"] == []
    assert "vgg16-torchvision" in (tmp_path / "out" / "table.md").read_text()
    assert Path(tmp_path / "out" / "curves.png").exists()
