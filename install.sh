#!/bin/sh
# Usage: ./install.sh [OPTION]...
#
# Makes this project's .venv from its locked requirements.txt, checking every hash, and brings the
# large files that its settings declare. Needs a Python 3 and a POSIX shell. An installed envkit
# does the same sooner, so the work is handed over to it.
#
#   --dev             the same as --group dev
#   --group NAME      install requirements-NAME.txt as well (may be repeated)
#   --no-default      leave out requirements.txt and the project itself
#   --python WHICH    use this Python: a path, a name such as python3.12, a version such as 3.12
#   --plain           do the work here even where envkit is installed
#   -h, --help        show this help
#
# Exit status: 0 done, 2 usage or a missing or bad lock, 3 something needed is missing, 4 a tool
# failed. Until the new .venv is whole the old one waits in .venv.previous; whatever goes wrong, it
# comes back: at once, or with the next run where this one was killed outright.

set -eu

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }
say() { printf '%s\n' "$@"; }
die() {
    code=$1
    shift
    printf 'install.sh: %s\n' "$@" >&2
    exit "$code"
}
usage_error() { die 2 "$1" "Try './install.sh --help'."; }

# --- what was asked for ---------------------------------------------------------------------------

groups=default python_choice='' plain=''

add_group() {
    case $1 in '' | -* | *[!A-Za-z0-9._-]*) usage_error "not a group's name: '$1'" ;; esac
    case " $groups " in *" $1 "*) ;; *) groups="$groups $1" ;; esac
}

choose_python() {
    case $1 in
        '') usage_error '--python needs a path or a version' ;;
        /*) python_choice=$1 ;;
        */*) python_choice=${PWD%/}/$1 ;; # relative to the caller's folder, which is left below
        *) python_choice=$1 ;;
    esac
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --dev) add_group dev ;;
            --no-default) groups=${groups#default} ;;
            --plain) plain=yes ;;
            -h | --help) usage && exit 0 ;;
            --group=*) add_group "${1#*=}" ;;
            --python=*) choose_python "${1#*=}" ;;
            --group | --python)
                [ $# -gt 1 ] || usage_error "$1 needs a value"
                if [ "$1" = --group ]; then add_group "$2"; else choose_python "$2"; fi
                shift
                ;;
            *) usage_error "unknown option: $1" ;;
        esac
        shift
    done
    case $groups in *[!\ ]*) ;; *) usage_error '--no-default needs at least one --group' ;; esac
}

# --- envkit, where there is one -------------------------------------------------------------------

# An activated .venv must neither replace itself nor be what the new one is made of.
leave_own_environment() {
    unset VIRTUAL_ENV PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON
    own=$(cd -P .venv/bin 2>/dev/null && pwd) || return 0
    kept='' rest=$PATH:
    while [ -n "$rest" ]; do
        folder=${rest%%:*} rest=${rest#*:}
        [ "$(cd -P -- "${folder:-.}" 2>/dev/null && pwd)" = "$own" ] || kept=$kept:$folder
    done
    PATH=${kept#:}
}

hand_over() {
    [ -z "$plain" ] && envkit=$(command -v envkit) || return 0
    case $(readlink -f "$envkit" 2>/dev/null || :) in "$root"/.venv/*) return 0 ;; esac
    "$envkit" --version >/dev/null 2>&1 || return 0 # a pyenv shim with nothing behind it
    set -- install
    case " $groups " in *' default '*) ;; *) set -- "$@" --no-default ;; esac
    for group in $groups; do
        [ "$group" = default ] || set -- "$@" --group "$group"
    done
    [ -z "$python_choice" ] || set -- "$@" --python "$python_choice"
    exec "$envkit" "$@"
}

# --- the locks ------------------------------------------------------------------------------------

locks='' wish='' # every lock's demand on the Python, joined by commas
version='[0-9]+(\.[0-9]+){0,2}'
clause="(~=|===?|!=|[<>]=?)$version(\.\*)?"

is_wish() { printf '%s\n' "$1" | grep -Eqx "$version|$clause(,$clause)*"; }

add_wish() {
    case ",$wish," in *",$1,"*) ;; *) wish=$wish${wish:+,}$1 ;; esac
}

read_locks() {
    for group in $groups; do
        lock=requirements-$group.txt
        [ "$group" != default ] || lock=requirements.txt
        [ -f "$lock" ] || die 2 "$lock is missing (group $group)." "Pull it, or run 'envkit lock'."
        locks=$locks${locks:+ }$lock
        asks=$(sed -n '/^# envkit-lock:/{s/.* python=\([^ ]*\).*/\1/p;q;}' "$lock")
        if is_wish "$asks"; then
            add_wish "$asks"
        elif grep -q '^# envkit-lock:' "$lock"; then
            die 2 "$lock: its '# envkit-lock:' line names no Python: run 'envkit lock' again."
        else
            say "Note: $lock has no '# envkit-lock:' line; any Python 3 is taken."
        fi
    done
}

# --- a Python that fits ---------------------------------------------------------------------------

# Run by each candidate itself. A wish is the start of a version, or PEP 440 specifiers.
fits='
import re, sys
have = sys.version_info[:3]
def fits(clause):
    operator, text = re.match("([<>=!~]*)(.*)", clause).groups()
    wanted = tuple(int(number) for number in re.findall("[0-9]+", text))
    starts = have[:len(wanted)] == wanted
    full = (wanted + (0, 0))[:3]
    if not operator:
        return starts
    if sys.version_info[3] != "final":
        return False
    if text.endswith("*"):
        return starts == (operator == "==")
    if operator == "~=":
        return have >= full and have[:len(wanted) - 1] == wanted[:-1]
    return {"<": have < full, "<=": have <= full, ">": have > full, ">=": have >= full,
            "!=": have != full}.get(operator, have == full)
sys.exit(not (have >= (3,) and all(map(fits, sys.argv[1].split(",")))))'

runs_and_fits() { "$1" -I -c "$fits" "$2" </dev/null >/dev/null 2>&1; } # PYTHON WISH

existing() {
    for file in "$@"; do [ ! -x "$file" ] || say "$file"; done
}

# One a line: first what the user has made active, then by place, the newest first in each.
candidates() { # WISH
    minors='24 23 22 21 20 19 18 17 16 15 14 13 12 11 10 9 8 7 6'
    case $1 in 3.*) minors=${1#3.} minors=${minors%%[!0-9]*} ;; esac
    pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv}/versions
    uv=${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python}
    for name in python3 python; do command -v "$name" || :; done
    for minor in $minors; do command -v "python3.$minor" || :; done
    for minor in $minors; do existing "$pyenv/3.$minor"[.-]*/bin/python; done
    existing "$pyenv"/[!3]*/bin/python
    for minor in $minors; do existing "$uv"/*-"3.$minor"[.-]*/bin/python3; done
    for minor in $minors; do
        existing "/usr/bin/python3.$minor" "/usr/local/bin/python3.$minor" \
            /opt/*/bin/"python3.$minor" /opt/python/*/bin/"python3.$minor"
    done
}

first_fitting() { # WISH
    candidates "$1" | while IFS= read -r candidate; do
        runs_and_fits "$candidate" "$1" || continue
        say "$candidate"
        break
    done
}

find_python() {
    asked="Python ${wish:-3}, as $locks asks for"
    if [ -z "$python_choice" ]; then
        python=$(first_fitting "$wish")
        [ -n "$python" ] || die 3 "found no $asked." "$(python_hint "$wish")"
    elif is_wish "$python_choice"; then
        python=$(first_fitting "$python_choice${wish:+,$wish}")
        [ -n "$python" ] && return
        [ -n "$(first_fitting "$python_choice")" ] || die 3 \
            "found no Python $python_choice." "$(python_hint "$python_choice")"
        die 2 "--python $python_choice is not $asked."
    else
        python=$(command -v "$python_choice") || die 3 "--python: there is no $python_choice."
        runs_and_fits "$python" '' || die 3 "--python $python_choice is not a Python 3 that runs."
        runs_and_fits "$python" "$wish" || die 2 "--python $python_choice is not $asked."
    fi
}

# --- what this system would call it ---------------------------------------------------------------

install_hint() { # APT DNF APK PACMAN BREW: the packages' names there
    for tool in apt-get dnf apk pacman brew; do
        if command -v "$tool" >/dev/null; then
            case $tool in apk) verb=add ;; pacman) verb=-S ;; *) verb=install ;; esac
            [ "$tool" = brew ] || [ "$(id -u)" = 0 ] || tool="sudo $tool"
            say "Install it: $tool $verb $1"
            return
        fi
        shift
    done
    say "Install it with your system's packages, pyenv or uv, and run this again."
}

python_hint() { # WISH
    case $1 in
        3.*) minor=${1#3.} minor=3.${minor%%[!0-9]*} ;;
        *) minor=3 ;;
    esac
    brew=python@$minor
    install_hint "python$minor python$minor-venv" "python$minor" python3 python "$brew"
}

venv_hint() {
    minor=$("$python" -I -c 'import sys; print("3.%d" % sys.version_info[1])')
    install_hint "python$minor-venv" python3-pip py3-pip python-pip "python@$minor"
}

# --- .venv, and the one before it -----------------------------------------------------------------

# .venv/.envkit holds `stamp` (envkit made this), `install-sh` (this script did, from the state
# written there) or `building` (it was at it: where it still is, the lock below cannot be had).
is_whole() { [ -e "$1/.envkit/install-sh" ] || [ -e "$1/.envkit/stamp" ]; }

discard() { # renamed first, so that a half-removed folder is never taken for an environment
    rm -rf .venv.discard
    mv "$1" .venv.discard
    rm -rf .venv.discard
}

# One run at a time. The lock is on the project's folder, through a descriptor that the tools
# inherit: a pip that outlives its killed script still holds it. Not every file system has locks.
take_lock='
import fcntl
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    raise SystemExit(1)
except OSError:
    pass'

lock_folder() {
    exec 9<.
    "$python" -I -c "$take_lock" || die 2 'another run is making .venv: wait for it, or end it.'
}

# Puts right whatever a failed, interrupted or killed run left. Does nothing where all is well.
recover() {
    if [ -e .venv.discard ]; then rm -rf .venv.discard; fi
    if [ -d .venv ]; then rmdir .venv/.envkit .venv 2>/dev/null || :; fi
    if [ -e .venv/.envkit/building ] && ! is_whole .venv; then discard .venv; fi
    is_whole .venv.previous || return 0
    if is_whole .venv; then
        discard .venv.previous
    elif [ ! -e .venv ]; then
        mv .venv.previous .venv
    fi
}

refuse_foreign() {
    for folder in .venv .venv.previous; do
        if is_whole "$folder" || { [ ! -e "$folder" ] && [ ! -L "$folder" ]; }; then continue; fi
        die 2 "$folder was made neither by envkit nor by this script, and is left alone." \
            "Move it away and run this again: mv $folder $folder.mine"
    done
}

# --- running tools, so that they can be stopped ---------------------------------------------------

log=.venv/.envkit/log running=''

# In a process group of its own, so that a signal to this script reaches all that the tool started;
# in the background, because a shell in `wait` acts on a signal at once.
run() {
    running=yes
    begin "$@" >"$log" 2>&1 &
    attend
}

run_shown() {
    running=yes
    begin "$@" &
    attend
}

begin() {
    exec "$python" -I -c 'import os, sys; os.setpgid(0, 0); os.execvp(sys.argv[1], sys.argv[1:])' \
        "$@" </dev/null
}

attend() {
    code=0
    wait "$!" || code=$?
    running=''
    return "$code"
}

must() { # WHAT COMMAND...
    what=$1
    shift
    "$@" && return
    tail -n 20 "$log" >&2
    die 4 "$what failed; the last it said is above."
}

finish() {
    code=$?
    trap '' HUP INT PIPE TERM
    trap - EXIT
    if [ -n "$running" ]; then
        kill -TERM "-$!" 2>/dev/null || kill -TERM "$!" 2>/dev/null || :
        wait "$!" 2>/dev/null || :
    fi
    back=''
    [ ! -e .venv.previous ] || is_whole .venv || back=yes
    recover
    [ -z "$back" ] || say 'The .venv from before is back in its place.' >&2
    exit "$code"
}

# --- building -------------------------------------------------------------------------------------

outer_pip='' # set where .venv gets no pip of its own

pip() {
    if [ -n "$outer_pip" ]; then
        run "$python" -m pip --python "$root/.venv/bin/python" "$@"
    else
        run .venv/bin/python -I -m pip "$@"
    fi
}

probe() { "$python" "$@" </dev/null >/dev/null 2>&1; }

make_environment() {
    if probe -I -m ensurepip --version && probe -I -c 'import venv'; then
        must 'python -m venv' run "$python" -I -m venv .venv
    elif probe -I -c 'import venv' && run "$python" -I -m venv --without-pip .venv &&
        probe -m pip --python "$root/.venv/bin/python" --version; then
        outer_pip=yes # pip 22.3 and later
    elif probe -m pip --version; then
        seed=.venv/.envkit/virtualenv
        must 'fetching virtualenv' run env PIP_REQUIRE_VIRTUALENV=0 "$python" -m pip install \
            --no-user --no-input --disable-pip-version-check --target "$seed" virtualenv
        must virtualenv run env PYTHONPATH="$seed" \
            "$python" -m virtualenv --no-periodic-update .venv
        rm -rf "$seed"
    else
        die 3 "$python has neither venv and ensurepip, nor pip." "$(venv_hint)"
    fi
    # venv brings a setuptools until Python 3.12; what the lock does not name is not to be there
    set -- .venv/lib/*/site-packages/setuptools
    [ ! -d "$1" ] || must 'pip uninstall' pip uninstall --yes setuptools
}

installs_project() {
    case " $groups " in *' default '*) ;; *) return 1 ;; esac
    grep -Eqs '^[[:space:]]*\[[[:space:]]*build-system[[:space:]]*\]' pyproject.toml
}

backend_is_there='
import importlib, re
text = open("pyproject.toml", encoding="utf-8").read()
table = re.search(r"(?ms)^\s*\[\s*build-system\s*\](.*?)(^\s*\[|\Z)", text).group(1)
name = re.search(r"(?m)^\s*build-backend\s*=\s*[\"\x27]([\w.]+)", table)
importlib.import_module(name.group(1) if name else "setuptools.build_meta")'

install_project() {
    export PIP_REQUIRE_HASHES=0 # a folder has none, whatever the user demands of the rest
    set -- install --no-deps --no-input --no-user --disable-pip-version-check --editable .
    # a backend from the lock was checked by hash; one that pip fetches for the build is not
    if run .venv/bin/python -I -c "$backend_is_there" &&
        pip "$@" --no-build-isolation --check-build-dependencies; then
        return
    fi
    must 'installing the project itself' pip "$@"
}

be_stoppable() {
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 141' PIPE
    trap 'exit 143' TERM
}

build() {
    say "Making .venv with $python, from $locks."
    [ ! -e .venv ] || mv .venv .venv.previous
    mkdir .venv .venv/.envkit
    : >.venv/.envkit/building
    make_environment
    set -- install --require-hashes --no-deps --no-input --no-user --disable-pip-version-check
    for lock in $locks; do set -- "$@" -r "$lock"; done
    must 'pip install' pip "$@"
    if installs_project; then install_project; fi
    must 'pip check' pip check --disable-pip-version-check
    rm -f "$log"
    say "$state" >.venv/.envkit/install-sh.new
    mv .venv/.envkit/install-sh.new .venv/.envkit/install-sh
    rm .venv/.envkit/building
}

# --- large files ----------------------------------------------------------------------------------

# [[tool.envkit.assets]]: each fetched into .envkit, going on where it was cut, and put into its
# place by one rename, once its sha256 is right. What somebody else put there is left alone. What
# was placed is noted with its size and times, so that it is not read again.
toml='
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib  # what there is for a Python before 3.11
'
bring_files='
import base64, errno, hashlib, http.client, json, netrc, os, re, shutil, sys, tarfile, time
import urllib.error, urllib.parse, urllib.request, zipfile

def fail(code, *lines):
    for line in lines:
        print("install.sh:", line, file=sys.stderr)
    sys.exit(code)

def declared():
    for name, below in ("envkit.toml", ()), ("pyproject.toml", ("tool", "envkit")):
        if os.path.exists(name):
            with open(name, "rb") as file:
                table = tomllib.load(file)
            for key in below:
                table = table.get(key, {})
            yield from table.get("assets", ())

def state(path):
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if os.path.isdir(path):
        return " ".join([str(status.st_ino), *sorted(os.listdir(path))])
    return "%d %d" % (status.st_size, status.st_mtime_ns)

def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()

def is_there(path, asset):
    known = notes.get(path)
    if known and known == [asset["sha256"], state(path)]:
        return True
    if not os.path.lexists(path) or (not known and asset.get("unpack") and os.path.isdir(path)):
        return False
    if os.path.isfile(path) and not asset.get("unpack") and sha256(path) == asset["sha256"]:
        return True
    if not (known and known[1] == state(path)):
        refuse(path)
    return False

def refuse(path):
    fail(2, path + " is there already, and is not what was declared.",
         "Move it away and run this again.")

def contents(folder):
    files = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return {os.path.relpath(file, folder): sha256(file) for file in files}

def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0

def authorization(url):
    try:
        found = netrc.netrc().authenticators(urllib.parse.urlsplit(url).hostname or "")
    except (OSError, ValueError, netrc.NetrcParseError):
        return {}
    if not (found and url.startswith("http")):
        return {}
    pair = "%s:%s" % (found[0], found[2])
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

def copy(answer, file, have, total):
    shown = 0
    for chunk in iter(lambda: answer.read(1 << 16), b""):
        file.write(chunk)
        have += len(chunk)
        if sys.stdout.isatty() and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            of = " of %.1f" % (total / 1e6) if total else ""
            print("\r  %.1f%s MB " % (have / 1e6, of), end="", flush=True)
    if shown:
        print("\r" + " " * 40 + "\r", end="", flush=True)

def fetch(url, part):
    have = size_of(part) if url.startswith("http") else 0
    headers = {"Accept-Encoding": "identity", **authorization(url)}
    if have:
        headers["Range"] = "bytes=%d-" % have
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        goes_on = have and answer.status == 206
        said = answer.headers.get("Content-Length")
        length = int(said) if said and re.fullmatch("[0-9]{1,18}", said) else 0
        have = have if goes_on else 0
        with open(part, "ab" if goes_on else "wb") as file:
            copy(answer, file, have, have + length if length else 0)
        come = size_of(part) - have
        if come < length:
            raise http.client.IncompleteRead(b"", length - come)

def bring(url, part):
    shown = url.partition("?")[0]
    if url.partition(":")[0] not in ("http", "https", "file"):
        fail(3, shown + " is read by envkit alone: install that, and run this again.")
    before, pauses = size_of(part), [1, 2, 4, 8]
    while True:
        try:
            return fetch(url, part)
        except urllib.error.HTTPError as error:
            said = "HTTP %d %s" % (error.code, error.reason)
            if error.code == 416:
                os.unlink(part)  # there is no more of it than there is: of something else, then
            elif error.code < 500 and error.code != 429:
                fail(3 if error.code in (404, 410) else 4, "%s: %s." % (shown, said))
        except (OSError, http.client.HTTPException) as error:
            if error.__class__ is urllib.error.URLError and url.startswith("file"):
                fail(3, "%s: %s." % (shown, error.reason))
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                os.unlink(part)
                fail(4, "%s: %s." % (shown, error.strerror))
            said = str(getattr(error, "reason", error))
        if size_of(part) > before:
            before, pauses = size_of(part), [1, 2, 4, 8]
        if not pauses:
            fail(4, "%s: %s." % (shown, said),
                 "What has come is kept: run this again, and it goes on from there.")
        time.sleep(pauses.pop(0))

def members(archive):
    with open(archive, "rb") as file:
        is_zip = file.read(4) in (b"PK\3\4", b"PK\5\6")
    if is_zip:
        with zipfile.ZipFile(archive) as found:
            for one in found.infolist():
                mode = one.external_attr >> 16
                plain = mode & 0o170000 in (0, 0o100000, 0o040000)
                yield one.filename, plain, None if one.is_dir() else found.open(one), mode
    else:
        with tarfile.open(archive) as found:
            for one in found:
                content = found.extractfile(one) if one.isreg() else None
                yield one.name, one.isreg() or one.isdir(), content, one.mode

def unpack(archive, folder, title):
    os.makedirs(folder)
    for name, plain, content, mode in members(archive):
        parts = [part for part in name.replace(chr(92), "/").split("/") if part not in ("", ".")]
        if not plain or name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name):
            fail(4, "%s: %r leads outside, or is neither a file nor a folder." % (title, name))
        target = os.path.join(folder, *parts)
        os.makedirs(os.path.dirname(target) if content else target, exist_ok=True)
        if content:
            with content, open(target, "xb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            os.chmod(target, 0o755 if mode & 0o100 else 0o644)

def unpack_into(path, part, draft):
    shutil.rmtree(draft, ignore_errors=True)
    try:
        unpack(part, draft, path)
        if not os.path.isdir(path):
            os.rename(draft, path)
        elif path in notes:
            os.rename(path, draft + ".old")
            os.rename(draft, path)
        elif contents(draft) != contents(path):
            refuse(path)
    except OSError:
        raise
    except Exception as error:
        fail(4, "%s: cannot be unpacked: %s." % (path, error))
    finally:
        for left in (draft, draft + ".old"):
            shutil.rmtree(left, ignore_errors=True)
    os.unlink(part)

def place(asset):
    if not re.fullmatch("[0-9a-fA-F]{64}", asset["sha256"]) or not asset["path"].isprintable():
        fail(2, "%a: its sha256 is none, or its path cannot be one." % asset["path"])
    asset["sha256"] = asset["sha256"].lower()
    path = os.path.normpath(asset["path"])
    first = path.split(os.sep)[0]
    above = os.path.realpath(os.path.dirname(path) or ".")
    inner = os.path.commonpath([above, os.path.realpath(".")]) == os.path.realpath(".")
    if not inner or os.path.isabs(path) or first in ("..", ".", ".venv", ".envkit", ".git"):
        fail(2, path + " leads outside of the project.")
    if is_there(path, asset):
        notes[path] = [asset["sha256"], state(path)]
        return
    print("Fetching", path, flush=True)
    part = os.path.join(".envkit", asset["sha256"] + ".part")
    draft = os.path.join(".envkit", asset["sha256"] + ".unpacked")
    if os.path.exists(part):
        os.chmod(part, 0o600)
    has_begun = size_of(part) > 0
    found = sha256(part) if has_begun else ""
    if found != asset["sha256"]:
        bring(asset["url"], part)
        found = sha256(part)
    if found != asset["sha256"] and has_begun:
        os.unlink(part)  # what was there was of something else
        bring(asset["url"], part)
        found = sha256(part)
    if found != asset["sha256"]:
        os.unlink(part)
        fail(4, "%s: its sha256 is %s, and not the declared %s." % (path, found, asset["sha256"]))
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if asset.get("unpack"):
        unpack_into(path, part, draft)
    else:
        os.chmod(part, 0o444)
        os.replace(part, path)
    notes[path] = [asset["sha256"], state(path)]

os.makedirs(".envkit", exist_ok=True)
with open(os.path.join(".envkit", ".gitignore"), "w") as file:
    file.write("*\n")
kept = os.path.join(".envkit", "install-sh-files.json")
try:
    with open(kept) as file:
        notes = json.load(file)
except (OSError, ValueError):
    notes = {}
try:
    for asset in declared():
        place(asset)
        with open(kept + ".new", "w") as file:
            json.dump(notes, file)
        os.replace(kept + ".new", kept)
except OSError as error:
    fail(4, "the large files: %s." % error)
except (tomllib.TOMLDecodeError, KeyError, AttributeError, TypeError) as error:
    fail(2, "the large files declared in the settings cannot be understood: %s." % error)'

probe_toml() { "$reader" -I -c "$toml" 2>/dev/null; }

bring_large_files() {
    grep -qs assets envkit.toml pyproject.toml || return 0
    reader=.venv/bin/python
    probe_toml || reader=$python
    probe_toml || die 3 "reading the large files' entries needs Python 3.11, or pip."
    run_shown "$reader" -I -c "$toml$bring_files" || exit "$?"
}

# --- and so ---------------------------------------------------------------------------------------

describe='
import hashlib, os, sys
print("python", sys.implementation.name, "%d.%d.%d" % sys.version_info[:3], os.uname()[4])
for name in sys.argv[1:]:
    with open(name, "rb") as file:
        print(hashlib.sha256(file.read()).hexdigest(), name)'

# All that .venv follows from. The folder too: the scripts in .venv name their Python in full.
current_state() {
    say "folder $root"
    # shellcheck disable=SC2086 # the locks' names hold no blanks
    set -- $locks
    if installs_project; then
        for file in pyproject.toml setup.cfg setup.py; do
            [ ! -f "$file" ] || set -- "$@" "$file"
        done
    fi
    "$python" -I -c "$describe" "$@"
}

is_up_to_date() {
    [ -f .venv/.envkit/install-sh ] && [ "$(cat .venv/.envkit/install-sh)" = "$state" ] &&
        .venv/bin/python -I -c '' 2>/dev/null
}

summary='
import os, sys, sysconfig
names = os.listdir(sysconfig.get_path("purelib"))
count = sum(name.endswith(".dist-info") for name in names)
things = "1 distribution" if count == 1 else "%d distributions" % count
print("Done: .venv has Python %d.%d.%d and" % sys.version_info[:3], things + ".")'

report() {
    .venv/bin/python -I -c "$summary"
    folder=''
    [ "$start" = "$root" ] || folder=$root/
    say "Activate it with: . '${folder}.venv/bin/activate'"
}

main() {
    unset CDPATH
    start=$(pwd -P)
    parse "$@"
    cd -- "$(dirname -- "$0")"
    root=$(pwd -P)
    leave_own_environment
    hand_over
    read_locks
    find_python
    lock_folder
    recover
    refuse_foreign
    state=$(current_state)
    be_stoppable
    if is_up_to_date; then
        say '.venv is already up to date.'
        bring_large_files
    else
        build
        bring_large_files
        report
    fi
}

main "$@"
