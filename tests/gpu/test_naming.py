"""Which GPUs are meant: instances, lost ones, names and numbers that may mean several."""

from tests.gpu.test_doors import ORDER, configure, leased, run
from tests.support.nvml import FakeGpu, Nvml, gpus, uuid
from tests.support.projects import Project


def test_numbers_that_may_mean_others(project: Project, driver: Nvml) -> None:
    first, second = gpus(2)
    driver.says([first, FakeGpu(uuid=second.uuid, bus=second.bus, name="Another")])
    result = project.envkit("run", "--gpus", "1", "--", "true", env={"CUDA_VISIBLE_DEVICES": "1"})
    assert result.code == 2
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in result.err
    certain = {"CUDA_VISIBLE_DEVICES": "1", **ORDER}
    assert leased(run(project, "--gpus", "1", env=certain)) == [uuid(1)]


def test_an_instance_goes_by_its_uuid_and_alone(project: Project, driver: Nvml) -> None:
    parts = [FakeGpu(uuid="MIG-1"), FakeGpu(uuid="MIG-2")]
    driver.says([FakeGpu(uuid=uuid(0), state="divided", instances=parts)])
    assert run(project, "--gpus", "1")["CUDA_VISIBLE_DEVICES"] == "MIG-1"
    assert run(project, "--gpus", "1", "--devices", "MIG-2")["CUDA_VISIBLE_DEVICES"] == "MIG-2"
    for devices, said in (("0", "is divided into MIG"), ("MIG-1,MIG-2", "of MIG one instance")):
        result = project.envkit("run", "--devices", devices, "--", "true")
        assert (result.code, said in result.text) == (2, True)
    result = project.envkit("run", "--gpus", "2", "--", "true")
    assert result.code == 3
    assert "one MIG instance" in result.err


def test_beside_a_lost_one_numbers_are_not_relied_on(project: Project, driver: Nvml) -> None:
    first, second, third = gpus(3)
    driver.says([first, FakeGpu(uuid=second.uuid, bus=second.bus, state="lost"), third])
    assert run(project, "--gpus", "2")["CUDA_VISIBLE_DEVICES"] == f"{uuid(0)},{uuid(2)}"
    result = project.envkit("run", "--gpus", "3", "--", "true")
    assert "GPU is lost" in result.err
    result = project.envkit("run", "--devices", "1", "--", "true")
    assert (result.code, "GPU 1 cannot be used: GPU is lost" in result.err) == (3, True)


def test_names_that_may_mean_several(project: Project) -> None:
    result = project.envkit("run", "--devices", "GPU-0000", "--", "true")
    assert (result.code, "means several GPUs" in result.err) == (2, True)
    assert uuid(3) in result.err
    configure(project, 'devices = [1]\norder = "FASTEST_FIRST"')
    result = project.envkit("run", "--gpus", "1", "--", "true")
    assert (result.code, "is not known in the order FASTEST_FIRST" in result.err) == (2, True)
