import platform
from pathlib import Path

from mesh_pipelines.machine import processor


def test_the_processor_has_a_name() -> None:
    assert processor() in Path("/proc/cpuinfo").read_text() + platform.machine()
