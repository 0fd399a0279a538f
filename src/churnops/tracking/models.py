"""A Bundle as an MLflow model: logged in a run, registered as a version, served by `mlflow models serve`."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from churnops.files import temporary_folder
from churnops.model import Bundle
from churnops.schema import Column, Schema
from churnops.tracking.environment import requirements

if TYPE_CHECKING:
    from mlflow.entities import FileInfo
    from mlflow.models import ModelSignature

ARTIFACT = "bundle"
# churnops itself is not published, so it cannot be a requirement: serve with `--env-manager local`.
_NEEDED = ("numba", "numpy", "polars", "pydantic", "pyyaml")


def log_bundle(bundle: Bundle, run_id: str, params: Mapping[str, object] | None = None) -> str:
    """Log the bundle's files as a run's model, and return its `models:/` address.

    The model's parameters are `params`, the hyperparameters, and the directions of inputs. It is "models from code":
    data files and a small program (`served_model.py`), no pickle.
    """
    import mlflow

    described = {**(params or {}), **bundle.lineage.get("hyperparameters", {})}
    described |= {f"monotone.{name}": direction for name, direction in bundle.lineage.get("monotone", {}).items()}
    needed = [line for line in requirements().splitlines() if line.partition("==")[0] in _NEEDED]
    with temporary_folder() as folder, mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example")  # the signature needs no example
        saved = bundle.save(folder / ARTIFACT)
        program = folder / "served_model.py"
        copyfile(Path(__file__).with_name(program.name), program)  # MLflow would keep its permissions
        logged = mlflow.pyfunc.log_model(
            name=bundle.algorithm,
            python_model=str(program),
            artifacts={ARTIFACT: str(saved)},
            signature=signature(bundle.schema),
            pip_requirements=needed,  # MLflow would take seconds to collect them
            metadata={"content_sha256": bundle.content_sha256},
            params={name: str(value) for name, value in described.items()},
        )
    return str(logged.model_uri)


def remove_files(address: str, tracking_uri: str) -> int:
    """Remove the files of a logged model, and return their size in bytes. Files that are gone are no error.

    Each kind of artifact store raises its own errors.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(address, tracking_uri)

    def size(entries: "list[FileInfo]") -> int:
        return sum(size(repository.list_artifacts(e.path)) if e.is_dir else e.file_size or 0 for e in entries)

    if not (entries := repository.list_artifacts()):
        return 0
    freed = size(entries)
    repository.delete_artifacts()  # type: ignore[no-untyped-call]
    return freed


def signature(schema: Schema) -> "ModelSignature":
    """Return the MLflow signature: required columns (snake_case) in; score, prediction and version out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, TensorSpec
    from mlflow.types import Schema as Types

    def type_of(column: Column) -> DataType:
        if column.kind == "integer" and not column.nullable:  # pandas stores integers with missing values as floats
            return DataType.long
        return DataType.double if column.is_number else DataType.string

    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(type_of(column), column.name, required=not column.nullable) for column in schema.model_inputs
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.double, "churn_probability"),
        ColSpec(DataType.boolean, "churn_prediction"),
        ColSpec(DataType.string, "model_version"),
    ]
    return ModelSignature(inputs=Types(inputs), outputs=Types(outputs))
