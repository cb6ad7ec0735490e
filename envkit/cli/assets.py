"""`envkit assets`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import click

from envkit import git, project, render
from envkit.assets import declaration, installation
from envkit.assets.transfer import Progress, Transfer, Wish
from envkit.cli.installer import perform, request_for
from envkit.cli.output import Meter, Output, answer
from envkit.declared import INNER_PATH_HINT, SHA256, AssetConfig, inner_path
from envkit.environment import stamp
from envkit.errors import EXIT_DIFFERENCE, EXIT_DONE, UsageError
from envkit.quantities import bytes_text
from envkit.store import assets as files
from envkit.store import layout

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
    before = tuple(one for one in found.config.assets if one.path != asset.path)
    store = layout.locate(found.config.store, os.environ)
    with store.in_use(output.say):
        (digest,) = Transfer(store, reporter(output)).bring([Wish(asset.url, asset.sha256)])
        asset = asset._replace(sha256=digest)
        output.clear()
        # A place that is somebody's is found out before anything is written.
        wished = found._replace(config=found.config._replace(assets=(*before, asset)))
        installation.check(installation.plan(wished, store), wished, store)
        is_new = declaration.declare(found, asset)
        size = bytes_text(files.path(store, digest).stat().st_size)
    verb = "Added" if is_new else "Changed"
    output.say(f"{verb} {asset.path} ({size}) in {found.settings_file.name}")
    if git.ignores(found.root, asset.path) is False:
        output.say(f"git will see it: /{asset.path} is a line for .gitignore")
    if stamp.read(str(found.environment)) is None:
        output.say("Next: envkit install")
        return EXIT_DONE
    changed = project.find(found.root, os.environ)
    perform(request_for(changed, changed.choose()), output)
    return EXIT_DONE


@assets.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def listing(as_json: bool) -> int:
    """List the declared files; exit 1 if one is not in its place."""
    found = project.find(Path.cwd(), os.environ)
    store = layout.locate(found.config.store, os.environ)
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
    return EXIT_DONE if all(state == "there" for state in states.values()) else EXIT_DIFFERENCE


def reporter(output: Output) -> Callable[[Progress], None]:
    """Return what draws how far the fetching of large files is."""
    meter = Meter(output, "Fetching")
    return lambda progress: meter.update_files(**progress._asdict())


def _asked(url: str, path: str | None, sha256: str | None, *, unpack: bool) -> AssetConfig:
    """Return the asset that words of the command line mean; its digest may be empty."""
    if not re.match(r"[a-z][a-z0-9+.-]*:", url):
        if not os.path.exists(url):
            raise UsageError(f"{url!r} is neither a URL nor a file here")
        url = Path(url).absolute().as_uri()
    if urlsplit(url).password:
        raise UsageError(
            "The URL has a password in it, which would be written into the settings",
            "Put it into ~/.netrc, which is read for http(s), and leave it out.",
        )
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if unpack:
        name = re.sub(_ARCHIVE, "", name)
    wanted = inner_path(path if path is not None else f"{_FOLDER}/{name}" if name else "")
    if wanted is None:
        what = f"--path {path}" if path is not None else f"{url}: names no file: a --path"
        raise UsageError(f"{what} {INNER_PATH_HINT}")
    if sha256 is not None and not re.fullmatch(SHA256, sha256):
        raise UsageError(f"--sha256 {sha256!r} must be 64 digits of a hexadecimal number")
    return AssetConfig(url, sha256 or "", str(wanted), unpack)
