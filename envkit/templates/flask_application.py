"""The application of a Flask project, found as Flask's own command line finds it.

Imported by gunicorn, in the project's environment or image, which need not have envkit.
"""

import os

from flask.cli import ScriptInfo, load_dotenv

load_dotenv()
app = ScriptInfo(app_import_path=os.environ.get("FLASK_APP") or None).load_app()
