"""The documents agree with the code: options, settings, exit codes, commands."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import tomli

from envkit import config, declared, errors
from envkit.cli.main import envkit
from envkit.services import flask, kinds, tensorflow_serving
from envkit.services.saved_models import Model
from envkit.tables import Layer, Table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
SERVICES = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
FILES = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")


def commands(group: click.Group = envkit, before: str = "") -> dict[str, click.Command]:
    """Return each command by its name, which has that of its group before it."""
    context = click.Context(group)
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            found |= commands(command, f"{before}{name} ")
        else:
            found[before + name] = command
    return found


def section(command: str) -> str:
    """Return what the reference says of a command."""
    found = re.search(
        rf"^### `envkit {command}\b.*?(?=^##|\Z)", REFERENCE, re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/reference.md has no section for {command}"
    return found[0]


@pytest.mark.parametrize("name", sorted(commands()))
def test_reference_has_each_option_and_no_other(name: str) -> None:
    options = {
        option
        for parameter in commands()[name].params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    table = [line.split("|")[1] for line in section(name).splitlines() if line.startswith("| `-")]
    assert {
        option for cell in table for option in re.findall(r"(?<!\w)--?[a-zA-Z][a-zA-Z0-9-]*", cell)
    } == options


def test_reference_has_each_setting() -> None:
    settings = set(re.findall(r"^\| `((?:image\.|gpu\.)?[a-z_]+)` \|", REFERENCE, re.MULTILINE))
    loaded = config.load({}, file=Path("/p/envkit.toml"), environ={})
    assert settings == {key for key, _, _ in loaded.items()}


def test_readme_has_each_command() -> None:
    mentioned = set(re.findall(r"`(?:[^`]*&& )?envkit ([a-z]+)", README))
    assert {name.partition(" ")[0] for name in commands()} - mentioned == {"completion"}


def test_readme_has_each_exit_code() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert set(map(int, re.findall(r"^\| (\d+) \|", README, re.MULTILINE))) == codes


def test_ci_runs_the_readmes_test_command() -> None:
    blocks = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
    assert blocks[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("document", sorted(path.name for path in ROOT.glob("docs/*.md")))
def test_links_lead_somewhere(document: str) -> None:
    folder = ROOT / "docs"
    for target in re.findall(r"\]\(([^)#:]+)\)", (folder / document).read_text(encoding="utf-8")):
        assert (folder / target).exists(), target


def test_readmes_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_own_install_script_is_the_template() -> None:
    template = ROOT / "envkit" / "templates" / "install.sh"
    assert (ROOT / "install.sh").read_bytes() == template.read_bytes()


def test_own_dockerfile_is_the_template_but_for_what_it_says() -> None:
    """It says that it differs in its first lines, the Python, and how the program is started."""
    template = (ROOT / "envkit" / "templates" / "Dockerfile").read_text(encoding="utf-8")
    own = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    begin, end = "\n# The Python that", "# In brackets"
    found = own[own.index(begin) : own.index(end)]
    same = template[template.index(begin) : template.index(end)]
    assert re.sub(r"ARG PYTHON=3\.\d+", "ARG PYTHON=@PYTHON@", found, count=1) == same


def keys_of(text: str) -> set[str]:
    """Return the keys that stand in the first cells of tables."""
    cells = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`([a-z0-9_]+)`", cell)}


def examples(document: str) -> list[dict[str, Any]]:
    """Return what `[tool.envkit]` says in each example of settings."""
    blocks = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    return [tomli.loads(block)["tool"]["envkit"] for block in blocks]


def test_services_has_each_setting() -> None:
    general, of_flask, of_serving = re.split(r"^### `kind.*", SERVICES, flags=re.MULTILINE)
    assert keys_of(general) == {*declared.COMMON}
    assert keys_of(of_flask) == {*flask.KEYS}
    assert keys_of(of_serving.partition("```")[0]) == {*tensorflow_serving.KEYS}
    assert f'`"{tensorflow_serving.TAG}"`' in of_serving


def test_what_the_examples_say_is_understood() -> None:
    file = Path("/p/pyproject.toml")
    for example in examples(SERVICES)[:1] + examples(FILES):
        loaded = config.load(example, file=file, environ={})
        assert len(loaded.services) + len(loaded.assets) == len(
            example.get("services", example.get("assets", []))
        )
    assert {one["kind"] for one in examples(SERVICES)[0]["services"].values()} == {*kinds.KINDS}
    models = examples(SERVICES)[1]["services"]["model"]["models"]
    table = Table([Layer(models[0], file, file.name)])
    assert Model.read(table, Path("/p")).labels == {"stable": 1, "canary": 2}
    assert keys_of(FILES) == {*declared.AssetConfig._fields}
