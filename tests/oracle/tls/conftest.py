"""The files that other people's TLS wants."""

import pytest

from tests.vectors.tls.identities import IDENTITIES, ROOT


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder with root.pem, and KIND.pem and KIND.key of each identity."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "root.pem").write_text(ROOT)
    for kind, (chain, key) in IDENTITIES.items():
        (folder / f"{kind}.pem").write_text(chain)
        (folder / f"{kind}.key").write_text(key)
    return folder
