"""The pages are true: their files, names, flags, fields and sentences exist, and their code runs."""

import importlib
import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CHECKOUT

import cpca_jax as cpca
from cpca_jax import cli, configs, models
from cpca_jax.errors import ConfigError
from cpca_jax.models.contract import require_network
from cpca_jax.objectives import penalties
from cpca_jax.runs import config
from cpca_jax.runtime import plugins
from cpca_jax.simulation.calibration import Calibration
from cpca_jax.simulation.physics import DEFAULT_SCANNER

DOCS = CHECKOUT / "docs"
# Pages that a reproduction wrote are left out.
PAGES = [CHECKOUT / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if page.name != "report.md"]
EMBEDDED = re.compile(r"<!-- file: ([\w./]+) -->\n```python\n(.*?)```\n", re.DOTALL)
BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PROGRAM = re.compile(r"\b(?:(\w+)\.py|cpca (\w+)|benchmarks\.programs\.(\w+))(?=\s|$)(.*)")

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT))
)


@every_page
def test_files_that_a_page_names_exist(page):
    places = r"(?:benchmarks|configs|cpca_jax|docs|launch|tests)"
    for name in re.findall(rf"\b{places}/[\w./*-]*\.(?:py|md|sh|yaml|png)\b", page.read_text()):
        assert list(CHECKOUT.glob(name)), name


@every_page
def test_names_that_a_page_mentions_can_be_imported(page):
    for name in set(re.findall(r"\b(?:cpca|cpca_jax|benchmarks)(?:\.\w+)+", page.read_text())):
        if not name.endswith((".py", ".md", ".NAME")):
            assert found(re.sub(r"^cpca\.", "cpca_jax.", name)), name


def found(name):
    """Tell whether a dotted name leads to a module or to something in one."""
    module, rest = name, []
    while module:
        try:
            thing = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
            continue
        for part in rest:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


def commands(text):
    """Return (program, arguments) of every command line, in blocks and within sentences."""
    lines = [line for block in BLOCK.findall(text) for line in joined(block).splitlines()]
    lines += re.findall(r"^    .*$", joined(BLOCK.sub("", text)), re.MULTILINE)
    lines += INLINE.findall(BLOCK.sub("", text))
    matches = (PROGRAM.search(line) for line in lines)
    return [(m[1] or m[2] or m[3], m[4].split(" #")[0]) for m in matches if m]


def joined(text):
    return re.sub(r"\\\n\s*", "", text)


@cache
def flags(program):
    """Return the flags of a program, or None where it is not part of the project."""
    if program in cli.PROGRAMS:
        return {"help", *importlib.import_module(f"cpca_jax.programs.{program}").PROGRAM.flags}
    path = CHECKOUT / "benchmarks" / "programs" / f"{program}.py"
    if not path.exists():
        return None
    text = path.read_text()
    if "command_line" in text:
        text += (CHECKOUT / "benchmarks" / "harness" / "command_line.py").read_text()
    return set(re.findall(r'add_argument\(\s*"--(\w+)"', text))


@every_page
def test_flags_of_a_command_belong_to_its_program(page):
    for program, arguments in commands(page.read_text()):
        known = flags(program)
        for flag in re.findall(r"(?<!\S)--(\w+)", arguments) if known is not None else ():
            assert flag in known, f"{program} {arguments}: --{flag}"


def test_commands_are_found():
    text = (
        "`denoise.py --slab N`\n\n    python x.py --a\n```\ncpca train --b \\\n   --c  # --d\n```\n"
    )
    assert commands(text) == [("train", " --b --c "), ("x", " --a"), ("denoise", " --slab N")]
    assert {"minutes", "json"} <= flags("run_all") and flags("scaling_tables") == set()
    assert sum(len(commands(page.read_text())) for page in PAGES) > 60


@every_page
def test_flags_in_sentences_belong_to_a_program(page):
    benchmarks = [path.stem for path in CHECKOUT.glob("benchmarks/programs/*.py")]
    known = set().union(*(flags(name) for name in [*cli.PROGRAMS, *benchmarks]))
    for flag in re.findall(r"(?<![\w-])--([a-z]\w*)", page.read_text()):
        assert flag in known, f"--{flag}"


@every_page
def test_configurations_of_commands_can_be_loaded(page, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    for _, arguments in commands(page.read_text()):
        for choice in re.findall(r"--config[ =](\S+)", arguments):
            assert configs.load(choice)


@every_page
def test_fields_that_a_page_sets_exist(page):
    """A page may write `--config.group.field` or, in a sentence, `group.field`."""
    groups = "|".join(config.defaults())
    text = page.read_text()
    for path in re.findall(r"--config\.([a-z_]+(?:\.[a-z_]+)*)", text):
        assert is_field(path), f"--config.{path}"
    for path in re.findall(rf"`(?:config\.)?((?:{groups})\.[a-z_]+(?:\.[a-z_]+)*)\b[^(`]*`", text):
        assert path.endswith((".jsonl", ".py")) or is_field(path), path


def is_field(path):
    *groups, field = path.split(".")
    if groups[-1:] == ["fields"]:
        kinds = [*models.MODELS.values(), *models.CRITICS.values()]
        return any(field in kind.__dataclass_fields__ for kind in kinds)
    for tree in (config.defaults(), configs.load("deck:demo")):
        for name in groups:
            tree = tree.get(name, {})
        if field in tree:
            return True
    return False


@every_page
def test_modules_that_a_page_shows_are_those_of_the_tests(page):
    for name, block in EMBEDDED.findall(page.read_text()):
        assert block == (CHECKOUT / name).read_text(), name


def test_every_template_is_shown():
    shown = {name for name, _ in EMBEDDED.findall((DOCS / "extending.md").read_text())}
    assert shown == {
        f"tests/plugins/{path.name}" for path in (CHECKOUT / "tests/plugins").glob("my_*")
    }
    (network,) = EMBEDDED.findall((DOCS / "networks.md").read_text())
    assert network[0] == "tests/plugins/my_network.py"


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Register the rows of docs/extending.md that are no files, for one test."""
    tables = (cpca.adversarial, cpca.critics, cpca.inflations, cpca.protocols.PROTOCOLS)
    for table in tables:
        monkeypatch.setattr(table, "_rows", dict(table._rows))
    text = EMBEDDED.sub("", (DOCS / "extending.md").read_text())
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for number, block in enumerate(blocks):
        (tmp_path / f"row{number}.py").write_text(block)
    plugins.load([str(path) for path in sorted(tmp_path.iterdir())])
    return len(blocks)


def test_the_other_rows_work(rows, key):
    assert rows == 4
    full, denoised = jax.random.uniform(key, (2, 5, 21, 24, 1))
    critic = models.build_critic("pieces", features=2)
    params = jax.jit(critic.init)(key, full)["params"]

    @jax.jit
    def score(images):
        return critic.clone(dtype=jnp.bfloat16).apply({"params": params}, images)

    assert score(full).shape == (5,) and score(full).dtype == jnp.float32
    value, norm = jax.jit(penalties.two_sided, static_argnums=0)(score, key, full, denoised)
    assert np.isfinite(value).all() and (norm > 0).all()
    form = cpca.adversarial["pearson"]
    assert (
        form.critic(score(full), score(denoised)).shape == form.generator(score(full)).shape == ()
    )

    kernel = {"conv1": {"kernel": jax.random.normal(key, (3, 3, 1, 4))}}
    shapes = {"conv1": {"kernel": jnp.zeros((3, 3, 3, 1, 4))}}
    grown, _ = cpca.inflate(kernel, shapes, rules=((".*", "leaning"),))
    shares = grown["conv1"]["kernel"] / kernel["conv1"]["kernel"]
    np.testing.assert_allclose(shares.mean((1, 2, 3, 4)), [0.1, 0.8, 0.1], rtol=1e-5)
    assert "liver: window [-20, 220] HU" in cpca.protocols.get_protocol("liver").description


def sentences():
    """Return the first column of the table of docs/networks.md, as regular expressions."""
    text = (DOCS / "networks.md").read_text().split("| sentence | cause |\n")[1]
    shown = re.findall(r"^\| `(.+?)` \|", text.split("\n\n")[0], re.MULTILINE)
    return [re.sub(r"\b[A-Z]{2,}\b|\bN\b", ".+", re.escape(one)) for one in shown]


def test_networks_are_refused_in_the_sentences_of_the_page():
    broken = plugins.import_file(CHECKOUT / "tests" / "models" / "test_contract.py")
    (mark,) = broken.test_a_network_that_breaks_the_contract_is_refused_in_one_sentence.pytestmark
    met = set()
    for network, _ in mark.args[1]:
        with pytest.raises(ConfigError) as error:
            require_network(network, "mine")
        said = str(error.value).removeprefix("model mine: ").removesuffix(" (docs/networks.md)")
        (sentence,) = [one for one in sentences() if re.fullmatch(one, said)]
        met.add(sentence)
    assert met == set(sentences())


def test_the_figure_of_the_dose_simulation_shows_the_real_dose_as_real(monkeypatch):
    """A "real" low dose without any noise of its own adds none; the simulated one does."""
    figure = plugins.import_file(DOCS / "make_dose_simulation_figure.py")
    calibrated = Calibration(DEFAULT_SCANNER, None, "the default")
    monkeypatch.setattr(figure, "calibrate", lambda volume, **_: calibrated)
    y, x = np.mgrid[-48:48, -48:48]
    full = np.where(y**2 + x**2 < 44**2, 40, -1000) + np.random.default_rng(0).normal(
        0, 5, (2, 96, 96)
    )
    full = full.round().astype(np.int16)
    one = figure.compare_doses(full, full, spacing_mm=1.5, label="disk", kernel="B30f")
    assert one.real.sd_hu["soft tissue"] == one.real.flat_sd_hu == 0
    assert one.simulated.sd_hu["soft tissue"] > 1 and one.simulated.flat_sd_hu > 1
