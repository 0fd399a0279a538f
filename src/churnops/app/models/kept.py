"""Version folders that a rollback can deploy: those of this machine, and those of the object store if there is one."""

from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

import streamlit as st

from churnops.errors import StoreError
from churnops.registry import DeploymentFolder
from churnops.registry.place import Place
from churnops.registry.store_place import StorePlace

WAIT_SECONDS = 3.0  # for the store's list
KEEP_SECONDS = 10  # for which a list is used again, also one that did not come


@dataclass(frozen=True)
class Kept:
    """Names of the version folders; `complete` is false if an object store did not answer."""

    names: frozenset[str]
    complete: bool = True


def kept_versions(deployed: DeploymentFolder, deployments: int) -> Kept:
    """Return the version folders that still exist.

    Parameters
    ----------
    deployments
        Number of deployments: a new one makes a kept list invalid.
    """
    if isinstance(deployed.place, StorePlace):
        return _in_store(deployed.place.store.address, deployments, deployed.place)
    return Kept(frozenset(deployed.place.names()))


@st.cache_data(show_spinner=False, ttl=KEEP_SECONDS, max_entries=4)
def _in_store(address: str, deployments: int, _place: StorePlace) -> Kept:
    names: list[set[str]] = []

    def ask() -> None:
        with suppress(StoreError):
            names.append(_place.names())

    thread = Thread(target=ask, daemon=True)  # an object store may take half a minute to fail
    thread.start()
    thread.join(WAIT_SECONDS)
    return Kept(frozenset(names[0])) if names else Kept(frozenset(Place.names(_place)), complete=False)
