"""A service that answers predictions of the trained model: `envkit serve`."""

import joblib
from flask import Flask, abort, jsonify, request

from train import MODEL


def create_app(path=MODEL):
    """Return the application, with the model in it."""
    if not path.exists():
        raise SystemExit(f"{path} is not there: train it with `envkit run -- python train.py`")
    model = joblib.load(path)
    app = Flask(__name__)

    @app.get("/health")
    def health():
        return jsonify(status="ok")

    @app.post("/predict")
    def predict():
        """Answer {"instances": [[5.1, 3.5, 1.4, 0.2]]} with {"predictions": ["setosa"]}."""
        instances = (request.get_json(silent=True) or {}).get("instances")
        try:
            predictions = model.predict(instances)
        except (TypeError, ValueError):
            abort(400, 'a JSON document is wanted, as in {"instances": [[5.1, 3.5, 1.4, 0.2]]}')
        return jsonify(predictions=[str(one) for one in predictions])

    return app
