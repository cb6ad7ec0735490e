# envkit itself in an image, built by `docker build .` alone or by `envkit build`. It is the file that
# `envkit init` writes, but for the Python and the last two lines.

# The Python that requirements.txt was locked for; another one is: --build-arg PYTHON=3.12
ARG PYTHON=3.13
# Any image with python3 and its venv module will do: --build-arg BASE=python:3.12-bookworm
ARG BASE=python:${PYTHON}-slim
# Where /opt/venv comes from: the stage below, or an image that has it already (`envkit build`
# makes one from wheels that it has on disk, so that nothing is downloaded or unpacked again).
ARG DEPS=deps


# What changes least: Debian packages and the user, so that nothing is run after this but pip.
FROM ${BASE} AS base
# Names of Debian packages, with spaces between them: --build-arg APT="libgomp1 ffmpeg"
ARG APT
RUN [ -z "$APT" ] || { \
        export DEBIAN_FRONTEND=noninteractive; \
        apt-get update && apt-get install --yes --no-install-recommends $APT && \
        rm -rf /var/lib/apt/lists/*; \
    }
# Fixed numbers, so that files on volumes keep their owner. They have a name because some libraries
# ask for one. Written by hand because not every base has useradd, which also records today's date.
ARG APP_USER=10001:10001
RUN uid="${APP_USER%%:*}"; gid="${APP_USER##*:}"; \
    case "$uid" in *[!0-9]*) exit 0 ;; esac; \
    cut -d: -f3 /etc/group | grep -qx "$gid" || echo "app:x:$gid:" >> /etc/group; \
    cut -d: -f3 /etc/passwd | grep -qx "$uid" || { \
        echo "app:x:$uid:$gid::/home/app:/bin/sh" >> /etc/passwd && \
        mkdir -p /home/app && chown "$uid:$gid" /home/app; \
    }


FROM base AS pip
# Builders without BuildKit run this stage even where DEPS makes it needless: hence the test below.
ARG DEPS
# What pip may need to find an index. Never put credentials in a build argument: it stays readable.
ARG PIP_INDEX_URL
ARG PIP_NO_INDEX
ARG PIP_CERT
WORKDIR /lock
# Only the lock, so that this layer is made anew when the lock changes and not when the code does.
# Wheels in a folder `wheelhouse` are not downloaded. It may be absent: that is what the * is for.
COPY requirements.txt wheelhouse* ./
# Nothing is installed but what the lock names, and nothing that does not match its hash: pip, which
# is not in the lock, stays outside. One lock gives the same bytes in every build: byte-code is
# tied to no file's time (files that do not compile are left as they are), and all times are one
# fixed date.
RUN mkdir -p /opt/venv; [ "$DEPS" = deps ] || exit 0; set -e; \
    python3 -m venv /tmp/pip; \
    python3 -m venv --without-pip /opt/venv; \
    pip="/tmp/pip/bin/python -m pip --python /opt/venv/bin/python --disable-pip-version-check"; \
    $pip install --require-hashes --no-deps --no-compile --no-input --no-cache-dir \
        --root-user-action ignore --find-links . --requirement requirements.txt; \
    $pip check; \
    /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        /opt/venv/lib >/dev/null || true; \
    find /opt/venv -exec touch -h -d @1577836800 {} +


# A stage with nothing in it but the environment: no lock, no wheels, no leftovers of pip.
FROM base AS deps
COPY --from=pip /opt/venv /opt/venv


FROM ${DEPS}
ARG APP_USER=10001:10001
# The environment comes first, as if it were activated; what is printed shows in the logs at once.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
# The code belongs to root: the program can read it and not change it.
WORKDIR /app
COPY . .
USER ${APP_USER}
# In brackets the program is started without a shell in between, and so gets SIGTERM itself.
ENTRYPOINT ["python", "-m", "envkit"]
CMD ["--help"]
