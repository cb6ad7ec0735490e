"""Train a model and export it for TensorFlow Serving: `envkit run -- python train.py`."""

import os
from pathlib import Path

# Nothing but warnings, in what TensorFlow says while it starts.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

import tensorflow as tf

# The server looks for models/NAME/VERSION/saved_model.pb, and serves the highest version.
MODEL = Path(__file__).parent / "models" / "half_plus_two" / "1"


class Line(tf.Module):
    """The model: a line through points."""

    def __init__(self):
        super().__init__()
        self.slope = tf.Variable(0.0)
        self.height = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def predict(self, x):
        """Return y for each x."""
        return {"y": self.slope * x + self.height}


def train(path=MODEL, steps=500):
    """Fit a line to points of y = x/2 + 2, write it to a path, and return it."""
    model = Line()
    x = tf.linspace(-2.0, 2.0, 50)
    y = x / 2 + 2
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.predict(x)["y"] - y) ** 2)
        variables = (model.slope, model.height)
        for variable, gradient in zip(variables, tape.gradient(loss, variables)):
            variable.assign_sub(0.2 * gradient)
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.predict})
    return model


if __name__ == "__main__":
    trained = train()
    print(f"{MODEL}: y = {trained.slope.numpy():.3f} x + {trained.height.numpy():.3f}")
