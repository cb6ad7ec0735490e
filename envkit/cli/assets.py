"""`envkit assets`."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import click

from envkit import drafts, git, project, render, scaffold
from envkit.assets import declaration, installation
from envkit.assets.transfer import Transfer, Wish
from envkit.cli.installer import files_reporter, perform, request_for
from envkit.cli.output import Output, answer
from envkit.declared import (
    INNER_PATH_HINT,
    PATH,
    SHA256,
    URL,
    AssetConfig,
    inner_path,
    names_user,
    shown_url,
)
from envkit.environment import stamp
from envkit.environment.home import Home
from envkit.errors import EXIT_DIFFERENCE, EXIT_DONE, IntegrityError, UsageError
from envkit.installation.plan import installed_groups
from envkit.project import Project
from envkit.quantities import bytes_text, few
from envkit.store import assets as files
from envkit.store import layout
from envkit.store.layout import Store

# What archives are called; their content goes into a folder without that.
_ARCHIVE = r"\.(zip|tar(\.(gz|bz2|xz))?|tgz|tbz2|txz)$"

# Where files go if nothing is said.
_FOLDER = "assets"


@click.group()
def assets() -> None:
    """Large files that pip cannot bring: declared once, the same on every machine."""


@assets.command()
@click.argument("url")
@click.option("--path", metavar="PATH", help=f"Where it goes in the project: {_FOLDER}/NAME.")
@click.option("--unpack", is_flag=True, help="It is an archive: its content goes there.")
@click.option("--sha256", metavar="HEX", help="What it must be, if that is known.")
@click.pass_obj
def add(output: Output, url: str, path: str | None, unpack: bool, sha256: str | None) -> int:
    """Fetch a file, compute its sha256, and write its entry into the settings.

    An entry for the same path is written anew. Where there is an environment, it is installed as
    well, which puts the file into its place.
    """
    found = project.find(Path.cwd(), os.environ)
    asset = _asked(url, path, sha256, unpack=unpack)
    store = layout.locate(found.config.store, os.environ)
    with store.in_use(output.say):
        asset = _fetched(asset, store, output)
        size = bytes_text(files.path(store, asset.sha256).stat().st_size)
        with Home(found.root, store).locked(output.say):
            # Read anew, as another command may have added something meanwhile.
            found = project.find(found.root, os.environ)
            _refuse_unusable(found, asset, store)
            before = declaration.declare(found, asset)
    if before == asset:
        output.say(f"{asset.path} ({size}) is declared already")
    else:
        verb = "Changed" if before else "Added"
        output.say(f"{verb} {asset.path} ({size}) in {found.settings_file.name}")
    if asset.url.startswith("file:"):
        output.warn(f"{asset.url} is a file of this machine, which others will not have")
    if _ignore(found.root, asset.path):
        output.say(f"Added to .gitignore: /{asset.path}")
    return _install(found.root, output)


@assets.command()
@click.argument("path")
@click.pass_obj
def remove(output: Output, path: str) -> int:
    """Take a file's entry out of the settings, and the file away unless you changed it."""
    found = project.find(Path.cwd(), os.environ)
    store = layout.locate(found.config.store, os.environ)
    store.prepare()
    with Home(found.root, store).locked(output.say):
        found = project.find(found.root, os.environ)
        if not declaration.withdraw(found, path):
            paths = few(one.path for one in found.config.assets) or "none"
            raise UsageError(f"No large file is declared for {path}", f"Declared: {paths}.")
    output.say(f"Removed {PurePosixPath(path)} from {found.settings_file.name}")
    return _install(found.root, output)


def _fetched(asset: AssetConfig, store: Store, output: Output) -> AssetConfig:
    """Return an asset with the digest of what was fetched."""
    wish = Wish(asset.url, asset.sha256)
    try:
        (digest,) = Transfer(store, files_reporter(output)).bring([wish])
    except IntegrityError as error:
        raise IntegrityError(error.message, "See that --sha256 is that of this file.") from None
    output.clear()
    return asset._replace(sha256=digest)


def _refuse_unusable(found: Project, asset: AssetConfig, store: Store) -> None:
    """Find out before anything is written whether a file can be put into its place."""
    others = tuple(one for one in found.config.assets if one.path != asset.path)
    wished = found._replace(config=found.config._replace(assets=(*others, asset)))
    installation.check(installation.plan(wished, store), wished, store)
    if asset.unpack:
        from envkit.assets.unpacking import unpack

        with store.temporary() as folder:
            unpack(files.path(store, asset.sha256), folder, asset.path)


def _install(root: Path, output: Output) -> int:
    """Install a project whose settings were changed, if it has an environment."""
    found = project.find(root, os.environ)
    if stamp.read(str(found.environment)) is None:
        output.say("Next: envkit install")
    else:
        perform(request_for(found, installed_groups(found)), output)
    return EXIT_DONE


def _ignore(root: Path, path: str) -> bool:
    """Let git pay no heed to a path, if there is a file that says so; return whether it did."""
    file = root / ".gitignore"
    if git.ignores(root, path) or not file.is_file():
        return False
    content, line = file.read_bytes(), f"/{path}"
    if line.encode() in content.splitlines():
        return False
    drafts.replace({file: scaffold.with_lines(content, [line])})
    return True


@assets.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def listing(as_json: bool) -> int:
    """List the declared files; exit 1 if one is not in its place."""
    found = project.find(Path.cwd(), os.environ)
    store = layout.locate(found.config.store, os.environ)
    store.prepare()
    states = dict(installation.states(found, store))
    if as_json:
        rows = [{**one.document(), "state": states[one.path]} for one in found.config.assets]
        click.echo(render.as_json(rows))
    elif not states:
        answer("No large files are declared (`envkit assets add URL`)")
    else:
        width = max(map(len, states))
        for one in found.config.assets:
            answer(f"{states[one.path]:<8}  {one.path:<{width}}  {one.shown_url}")
        for path, state in states.items():
            if state == "superfluous":
                answer(f"{state:<8}  {path}")
    return EXIT_DONE if all(state == "there" for state in states.values()) else EXIT_DIFFERENCE


def _asked(url: str, path: str | None, sha256: str | None, *, unpack: bool) -> AssetConfig:
    """Return the asset that words of the command line mean; its digest may be empty."""
    if not re.match(r"[a-z][a-z0-9+.-]*:", url):
        if not os.path.exists(url):
            raise UsageError(f"{url!r} is neither a URL nor a file here")
        url = Path(os.path.abspath(url)).as_uri()
    if names_user(url):
        raise UsageError(
            "The URL has a user's name or password in it, which would be written into the settings",
            "Put it into ~/.netrc, which is read for http(s), and leave it out.",
        )
    if not re.fullmatch(URL, url):
        raise UsageError(f"{shown_url(url)!r} must be as in https://example.org/model.bin")
    if path is not None and not re.fullmatch(PATH, path):
        raise UsageError(f"--path {path!r} must be a path in the project")
    # Behind the host, if there is one.
    _, slashes, behind = url.partition("?")[0].partition("#")[0].partition("://")
    name = PurePosixPath(unquote(behind.partition("/")[2] if slashes else url)).name
    if unpack:
        name = re.sub(_ARCHIVE, "", name)
    wanted = inner_path(path if path is not None else f"{_FOLDER}/{name}" if name else "")
    if wanted is None:
        what = (
            f"--path {path}" if path is not None else f"{shown_url(url)}: names no file: a --path"
        )
        raise UsageError(f"{what} {INNER_PATH_HINT}")
    if sha256 is not None and not re.fullmatch(SHA256, sha256):
        raise UsageError(f"--sha256 {sha256!r} must be 64 digits of a hexadecimal number")
    return AssetConfig(url, (sha256 or "").lower(), str(wanted), unpack)
