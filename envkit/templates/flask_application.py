"""The application of a Flask project, found as Flask's own command line finds it.

Imported by gunicorn, in the project's environment or image, which need not have envkit.
"""

import os
import traceback
from typing import Any

from flask.cli import NoAppException, ScriptInfo, load_dotenv

# The exit code by which gunicorn knows that it need not try again.
_CANNOT_BE_LOADED = 4


def _load() -> Any:
    load_dotenv()
    try:
        return ScriptInfo(app_import_path=os.environ.get("FLASK_APP") or None).load_app()
    except NoAppException as error:
        reason = str(error)
    except SystemExit as error:
        reason = f"it ended itself: {error}"
    except BaseException as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    print(f"The application cannot be loaded: {reason}", flush=True)
    if "ENVKIT_FAILURE" in os.environ:
        first, *_, last = [line for line in reason.splitlines() if line.strip()] * 2
        with open(os.environ["ENVKIT_FAILURE"], "w", encoding="utf-8") as file:
            file.write(first if first == last else f"{first} {last}")
    raise SystemExit(_CANNOT_BE_LOADED)


app = _load()
