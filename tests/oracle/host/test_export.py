"""`barewire export`, held against what others publish: libvirt's schema, KubeVirt's types, the
models of Nomad's jobs by which Airflow submits them."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pydantic
import pytest
from click.testing import CliRunner

from barewire.cli import main
from barewire.paths import build_dir

TYPES = "@kubevirt-ui-ext/kubevirt-api@1.7.0"  # from KubeVirt's OpenAPI description
COMPILER = "typescript@5.9.3"
MODELS = "apache-airflow-providers-nomad==0.0.7"


def export(*arguments):
    done = CliRunner().invoke(main, ["export", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def images(tmp_path):
    for name in ("a.elf", "a.raw", "a.qcow2", "a.iso", "a.romfs"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("kind", ["elf", "raw", "qcow2", "iso"])
@pytest.mark.parametrize("accel", ["kvm", "tcg"])
def test_libvirts_own_validator_accepts_the_domain(images, kind, accel):
    more = ["--append", "hostname=a&b", "--initrd", images / "a.romfs", "--nics", 3]
    text = export("--libvirt", "--image", images / f"a.{kind}", "--accel", accel, *more)
    path = images / "domain.xml"
    path.write_text(text)
    done = subprocess.run(["virt-xml-validate", path, "domain"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert text.count("<interface ") == 3
    # That it can say no.
    path.write_text(text.replace("<vcpu>1<", "<vcpu>one<"))
    assert subprocess.run(["virt-xml-validate", path, "domain"], capture_output=True).returncode


@pytest.fixture(scope="session")
def compiler():
    """A folder with KubeVirt's types and tsc, installed once by npm."""
    folder = build_dir() / "npm"
    if not (folder / "node_modules" / ".bin" / "tsc").exists():
        if not shutil.which("npm"):
            pytest.skip("no npm here, so KubeVirt's published types cannot be had")
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, COMPILER, TYPES]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
    return folder


def wrong(folder, name, text):
    """What tsc finds wrong with `text` as a value of KubeVirt's type."""
    source = folder / f"{name}.ts"
    source.write_text(
        'import type { V1VirtualMachineInstanceReplicaSet as T } from\n'
        '  "@kubevirt-ui-ext/kubevirt-api/kubevirt";\n'
        f"export const made: T = {text};\n"
    )
    tsc = ["node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", source.name]
    tsc += ["--moduleResolution", "bundler", "--module", "esnext"]
    return subprocess.run(tsc, cwd=folder, capture_output=True, text=True).stdout


def test_kubevirts_published_types_accept_the_replica_set(images, compiler):
    text = export("--kubevirt", "--image", images / "a.qcow2", "--count", 100, "--name", "web")
    assert json.loads(text)["spec"]["replicas"] == 100
    assert wrong(compiler, "right", text) == ""
    assert "replicaz" in wrong(compiler, "wrong", text.replace('"replicas"', '"replicaz"'))


@pytest.fixture(scope="session")
def nomad():
    """Airflow's models of what Nomad takes, without Airflow; installed once by pip."""
    folder = build_dir() / "nomad"
    path = folder / "airflow" / "providers" / "nomad" / "models.py"
    if not path.exists():
        argv = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
        done = subprocess.run([*argv, MODELS], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
    spec = importlib.util.spec_from_file_location("nomad_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_published_models_accept_nomads_job(images, nomad):
    """HashiCorp publishes no schema in Debian, PyPI or npm; this is the nearest."""
    text = export("--nomad", "--image", images / "a.elf", "--count", 100, "--append", "ip=dhcp",
                  "--initrd", images / "a.romfs", "-m", 16)  # fmt: skip
    model = nomad.NomadJobModel.model_validate_json(text)
    (group,) = model.Job.TaskGroups
    (task,) = group.Tasks
    # The models let keys pass that they do not know, so a word misspelled would be one of these.
    unknown = {"job": model.Job, "group": group, "task": task, "resources": task.Resources}
    assert {what: set(m.model_extra) for what, m in unknown.items()} == {
        "job": {"Datacenters"}, "group": set(), "task": {"Artifacts"}, "resources": set(),
    }  # fmt: skip
    assert set(task.Config.model_extra) == {"image_path", "accelerator"}  # the task driver's own
    assert (model.Job.ID, model.Job.Type.value, group.Count) == ("barewire", "service", 100)
    # That they can say no.
    for right, bad in (('"service"', '"servise"'), ('"Driver"', '"Drivar"'), ("100,", '"x",')):
        assert right in text
        with pytest.raises(pydantic.ValidationError):
            nomad.NomadJobModel.model_validate_json(text.replace(right, bad))


def test_nomads_job(images):
    """What no model says: Nomad's documentation, key by key."""
    text = export("--nomad", "--image", images / "a.elf", "--append", "ip=dhcp",
                  "--initrd", images / "a.romfs")  # fmt: skip
    job = json.loads(text)["Job"]
    task = job["TaskGroups"][0]["Tasks"][0]
    assert job["Datacenters"] == ["*"] and task["Driver"] == "qemu"
    assert task["Config"]["image_path"] == "local/a.elf"
    assert [a["RelativeDest"] for a in task["Artifacts"]] == ["local/", "local/"]
    arguments = task["Config"]["args"]
    assert arguments[arguments.index("-append") + 1] == "ip=dhcp"
    assert arguments[arguments.index("-initrd") + 1] == "local/a.romfs"


def test_what_cannot_be_exported(images):
    for why, arguments in (
        ("nothing asked for", ["--image", images / "a.elf"]),
        ("KubeVirt boots no ELF", ["--kubevirt", "--image", images / "a.elf"]),
        ("a name that is none", ["--nomad", "--image", images / "a.elf", "--name", "A b"]),
    ):
        done = CliRunner().invoke(main, ["export", *map(str, arguments)])
        assert done.exit_code == 2, why
