"""Train a model of irises and write it to models/iris.joblib: `envkit run -- python train.py`."""

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL = Path(__file__).parent / "models" / "iris.joblib"


def train(path=MODEL):
    """Write a model to a path, and return its accuracy on data that it has not seen."""
    irises = load_iris()
    seen, unseen, kinds, others = train_test_split(
        irises.data, irises.target_names[irises.target], test_size=0.3, random_state=0
    )
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(seen, kinds)
    path.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, path)
    return model.score(unseen, others)


if __name__ == "__main__":
    print(f"{MODEL}: accuracy {train():.3f}")
