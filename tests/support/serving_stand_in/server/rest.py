"""The REST API. Sources: api_rest.md, http_rest_api_util.cc, http_rest_api_handler.cc.

What is malformed is answered as the real server does: where a path is not below `/v1/`, by nothing.
"""

import http.server
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec

from . import tensors
from .models import Models
from .statuses import Code, StatusError

_WHICH = r"(?:/versions/(?P<number>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.IGNORECASE
)
_GET = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?:/(?P<method>metadata))?", re.IGNORECASE
)
_ANY = re.compile("/v1/.*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Api:
    """What answers requests about models.

    Attributes:
        models: the models.
        metrics: the path at which it says how many there were; none if it does not.
        counts: how many there were, by the model and the status.
    """

    models: Models
    metrics: str | None
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def answer(self, verb: str, path: str, body: bytes) -> tuple[int, str, str]:
        """Return the status of an answer, its content type and its content."""
        if self.metrics is not None and path == self.metrics:
            return 200, "text/plain", self._metrics()
        if not _ANY.fullmatch(path):
            return 404, "text/plain", ""
        found = {"GET": _GET, "POST": _POST}.get(verb, re.compile("(?!)")).fullmatch(path)
        name = found["name"] or "" if found else ""
        try:
            content = self._content(verb, path, found, body)
        except StatusError as error:
            self.counts[name, str(error).partition(":")[0]] += 1
            content = json.dumps({"error": error.message}, indent=4)
            return error.http, "application/json", content
        self.counts[name, "OK"] += 1
        return 200, "application/json", content

    def _content(self, verb: str, path: str, found: re.Match[str] | None, body: bytes) -> str:
        if found is None:
            raise StatusError(Code.INVALID_ARGUMENT, f"Malformed request: {verb} {path}")
        return self._post(found, body) if verb == "POST" else self._get(found)

    def _get(self, found: re.Match[str]) -> str:
        if not found["name"]:
            raise StatusError(Code.INVALID_ARGUMENT, "Missing model name in request.")
        return self._metadata(found) if found["method"] else self._status(found)

    def _status(self, found: re.Match[str]) -> str:
        # A label is not looked at: all versions are told of (get_model_status_impl.cc).
        number = found["number"]
        versions = [
            one
            for one in self.models.versions(found["name"])
            if number is None or one.number == int(number)
        ]
        if not versions:
            what = "any versions" if number is None else f"version {int(number)}"
            message = f"Could not find {what} of model {found['name']}"
            raise StatusError(Code.NOT_FOUND, message)
        response = GetModelStatusResponse()
        for version in versions:
            told = response.model_version_status.add(version=version.number)
            told.state = ModelVersionStatus.State.Value(version.state)
            told.status.SetInParent()
            if version.error is not None and version.state == "END":
                told.status.error_code = version.error.code
                told.status.error_message = version.error.message
        return _json(response)

    def _metadata(self, found: re.Match[str]) -> str:
        version = self._version(found)
        spec = ModelSpec(name=version.model)
        spec.version.value = version.number
        signatures = SignatureDefMap()
        for name, signature in version.servable.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        # The message holds it in a field of any type, which the real server leaves out as well.
        told = {
            "model_spec": json.loads(_json(spec)),
            "metadata": {"signature_def": json.loads(_json(signatures))},
        }
        return json.dumps(told, indent=1)

    def _post(self, found: re.Match[str], body: bytes) -> str:
        if found["method"].lower() != "predict":
            raise StatusError(Code.UNIMPLEMENTED, "the stand-in answers only :predict")
        document = tensors.read_request(body)
        servable = self._version(found).servable
        name = document.get("signature_name", "")
        inputs = tensors.read_inputs(document, servable.signature(name).inputs)
        outputs = servable.predict(name, inputs)
        return tensors.write_outputs(outputs, in_rows="instances" in document)

    def _version(self, found: re.Match[str]) -> Any:
        number = int(found["number"]) if found["number"] else None
        return self.models.available(found["name"], number, found["label"])

    def _metrics(self) -> str:
        name = ":tensorflow:serving:request_count"
        lines = [f"# TYPE {name} counter"]
        for (model, status), count in sorted(self.counts.items()):
            lines.append(f'{name}{{model_name="{model}",status="{status}"}} {count}')
        return "".join(f"{line}\n" for line in lines)


def server(port: int, api: Api) -> http.server.ThreadingHTTPServer:
    """Return what answers at a port of all addresses, once it is told to."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            status, kind, text = api.answer(self.command, path, body)
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing of requests, as the real server does."""

    return http.server.ThreadingHTTPServer(("", port), Handler)


def _json(message: Any) -> str:
    """Return a message with the names of its fields, and those fields that hold nothing."""
    return str(
        json_format.MessageToJson(
            message,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            indent=1,
        )
    )
