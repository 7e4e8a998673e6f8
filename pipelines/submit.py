"""The training pipeline on a Kubeflow Pipelines endpoint: upload, run, schedule."""

import hashlib
import io
import json
import os
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from hakka.detector.search import check_plan
from hakka.detector.train import TrainParams
from hakka.detector.variants import VariantParams
from hakka.errors import InvalidInput, Unavailable
from hakka.params import read_section
from hakka.run import new_run_id
from hakka.strict_yaml import RepeatedKey, load_yaml
from hakka.texts import short
from pipelines.cluster import ClusterParams, check_device
from pipelines.compiling import compile_training, read_parameters

PIPELINE = "hakka-training"
TOKEN_VARIABLE = "HAKKA_KFP_TOKEN"  # noqa: S105  (the name of the variable, not a token)
ANSWER_WITHIN = 10.0  # seconds
EQUALS = 1  # the operation of that name in a filter of the API


@dataclass(frozen=True)
class Endpoint:
    """A Kubeflow Pipelines API; a token comes from HAKKA_KFP_TOKEN.

    ``namespace`` is the profile's in a multi-user installation; ``service_account`` is what the steps run as (the
    installation's own if None). The deploy step needs the rights of manifests/base/accounts.yaml.
    """

    host: str
    namespace: str | None = None
    service_account: str | None = None


def submit_run(endpoint: Endpoint, experiment: str, arguments: dict[str, Any]) -> dict[str, str]:
    """Upload the pipeline if this version of it is not there yet, and start a run; gives the ids and the run's page.

    Raises:
        InvalidInput: the endpoint is not an http address, or refused the request.
        Unavailable: nothing answers there, or not with Kubeflow Pipelines.
    """
    with connect(endpoint) as client:
        pipeline, version = upload_pipeline(client, endpoint.namespace)
        run = client.run_pipeline(
            experiment_id=client.create_experiment(experiment, namespace=endpoint.namespace).experiment_id,
            job_name=f"{PIPELINE} {new_run_id()}",
            params=arguments,
            pipeline_id=pipeline,
            version_id=version,
            service_account=endpoint.service_account,
        )
    page = f"{endpoint.host.rstrip('/')}/#/runs/details/{run.run_id}"
    return {"run": run.run_id, "pipeline": pipeline, "version": version, "page": page}


def schedule_runs(endpoint: Endpoint, experiment: str, arguments: dict[str, Any], cron: str) -> dict[str, str]:
    """Start a run whenever ``cron`` (six fields, seconds first) says so; gives the ids.

    A run that finds the data unchanged reuses its steps, for each names the state of the data first.

    Raises:
        InvalidInput, Unavailable: as :func:`submit_run`.
    """
    if len(cron.split()) != 6:
        raise InvalidInput(f"cron: must have six fields, from seconds to the day of the week, got {cron!r}")
    with connect(endpoint) as client:
        pipeline, version = upload_pipeline(client, endpoint.namespace)
        schedule = client.create_recurring_run(
            experiment_id=client.create_experiment(experiment, namespace=endpoint.namespace).experiment_id,
            job_name=f"{PIPELINE} {cron}",
            cron_expression=cron,
            max_concurrency=1,
            no_catchup=True,
            params=arguments,
            pipeline_id=pipeline,
            version_id=version,
            service_account=endpoint.service_account,
        )
    return {"schedule": schedule.recurring_run_id, "pipeline": pipeline, "version": version}


def upload_pipeline(client: Any, namespace: str | None) -> tuple[str, str]:
    """The ids of the pipeline and of the version with exactly this content; each is made only if it is not there."""
    content = compile_training()
    name = hashlib.sha256(content.encode()).hexdigest()[:12]
    with tempfile.TemporaryDirectory(prefix="hakka-") as folder:
        package = Path(folder, f"{PIPELINE}.yaml")
        package.write_text(content)
        pipeline = client.get_pipeline_id(PIPELINE)
        if pipeline is None:
            pipeline = client.upload_pipeline(str(package), PIPELINE, namespace=namespace).pipeline_id
        with_name = json.dumps({"predicates": [{"operation": EQUALS, "key": "display_name", "stringValue": name}]})
        known = client.list_pipeline_versions(pipeline, filter=with_name).pipeline_versions or []
        if known:
            return pipeline, known[0].pipeline_version_id
        return pipeline, client.upload_pipeline_version(str(package), name, pipeline_id=pipeline).pipeline_version_id


def parse_arguments(pairs: list[str]) -> dict[str, Any]:
    """``name=value`` texts as pipeline arguments of the right type.

    Raises:
        InvalidInput: a text has no ``=``, names no parameter of the pipeline, or its value has another type, is no
            list of variants, or is a device that the steps do not get.
    """
    known = read_parameters(compile_training())
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in known:
            raise InvalidInput(f"--param: must be name=value with a name of {', '.join(known)}, got {pair!r}")
        arguments[name] = _typed(f"--param {name}", value, known[name]["parameterType"])
    own = {part.name: arguments[part.name] for part in fields(TrainParams) if part.name in arguments}
    listed = read_section(VariantParams, "variants", latency_budget_ms=arguments.get("latency_budget_ms"))
    params, *_ = check_plan(own, arguments.get("variants", listed.settings), arguments.get("trials"))
    check_device(params.device, read_section(ClusterParams, "cluster"))
    return arguments


def _typed(place: str, value: str, kind: str) -> Any:
    if kind == "LIST":
        return read_list(value, place)
    kinds = {"NUMBER_INTEGER": (int, "a whole number"), "NUMBER_DOUBLE": (float, "a number")}
    read, words = kinds.get(kind, (str, "a text"))
    try:
        return read(value)
    except ValueError:
        raise InvalidInput(f"{place}: must be {words}, got {value!r}") from None


def read_list(text: str, place: str) -> list[Any]:
    """The list that a text holds as JSON or YAML, or that the file with this name does.

    Raises:
        InvalidInput: neither holds a list, or a mapping in it has a key twice.
    """
    rule = f"{place}: must be a list, or a JSON or YAML file with one, got {short(text)}"
    try:
        path = Path(text).expanduser()
        content = path.read_text() if path.suffix in (".json", ".yaml", ".yml") else text
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content)):
            raise InvalidInput(f"{rule}: anchors and aliases (& and *) are not allowed")  # some stand for billions
        value = load_yaml(content, yaml.SafeLoader)  # the C parser would not survive brackets by the ten thousand
    except RepeatedKey as error:
        raise InvalidInput(f"{place}: {error} of {short(text)}") from None
    except OSError as error:
        raise InvalidInput(f"{rule}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RuntimeError):  # no YAML, no UTF-8, a number without end, too deep, no such ~
        raise InvalidInput(rule) from None
    if not isinstance(value, list):
        raise InvalidInput(rule)
    return value


@contextmanager
def connect(endpoint: Endpoint) -> Iterator[Any]:
    """A kfp client whose failures are one sentence and which prints nothing."""
    import kfp_server_api
    import urllib3
    from kfp.client import Client

    token = os.environ.get(TOKEN_VARIABLE)
    check_answer(endpoint.host, token)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield Client(host=endpoint.host, namespace=endpoint.namespace or "kubeflow", existing_token=token)
    except kfp_server_api.ApiException as error:
        raise InvalidInput(f"{endpoint.host}: the endpoint refused: {error.status} {_reason(error)}") from None
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise Unavailable(f"{endpoint.host}: the endpoint stopped answering: {error}") from None


def check_answer(host: str, token: str | None) -> None:
    """Return if Kubeflow Pipelines answers at ``host``; kfp's own client would try for long and print tracebacks.

    Raises:
        InvalidInput: ``host`` is not an http address.
        Unavailable: nothing answers there, or something else does.
    """
    if not host.startswith(("http://", "https://")):
        raise InvalidInput(f"--host: must start with http:// or https://, got {host!r}")
    request = urllib.request.Request(f"{host.rstrip('/')}/apis/v2beta1/healthz")  # noqa: S310  (checked above)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_WITHIN) as answer:  # noqa: S310
            json.load(answer)
    except urllib.error.HTTPError as error:
        hint = f"; set {TOKEN_VARIABLE}" if error.code in (401, 403) else ""
        raise Unavailable(
            f"{host}: must be a Kubeflow Pipelines endpoint, but it answered {error.code}{hint}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(f"{host}: Kubeflow Pipelines must answer there, but the request failed: {reason}") from None


def _reason(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
