"""A service that answers predictions: `envkit serve`, then POST to /predict."""

from flask import Flask, abort, jsonify, request

app = Flask(__name__)


def predict(instances):
    """Return a prediction for each number; put your own model in the place of this one."""
    return [2.0 * instance + 1.0 for instance in instances]


@app.get("/health")
def health():
    """Say that the service can answer."""
    return jsonify(status="ok")


@app.post("/predict")
def answer():
    """Answer {"instances": [1.0, 2.0]} with {"predictions": [3.0, 5.0]}."""
    instances = (request.get_json(silent=True) or {}).get("instances")
    if not isinstance(instances, list) or not all(
        isinstance(one, (int, float)) for one in instances
    ):
        abort(400, 'a JSON document is wanted, as in {"instances": [1.0]}')
    return jsonify(predictions=predict(instances))
